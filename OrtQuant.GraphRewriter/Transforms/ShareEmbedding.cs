using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Rewriting;

namespace OrtQuant.GraphRewriter.Transforms;

/// <summary>
/// An embedding table that is a second copy of the head (as stored, or transposed) is dropped: its Gather reads rows of the head's packed
/// weight. Exact: the two hold the same values, which is checked when the plan is made and again when it is applied.
/// </summary>
/// <param name="Table">Name of the table, as its Gather reads it.</param>
/// <param name="Head">Name of the head's weight.</param>
public sealed record ShareEmbedding(string Table, string Head) : WeightTransform
{
    internal const string TransformName = "share-embedding";

    /// <inheritdoc/>
    public override string Name => TransformName;

    /// <inheritdoc/>
    public override string Summary => $"embedding {Table} holds the same values as {Head}: one packed copy for both";

    internal static ShareEmbedding Read(JsonReader json)
    {
        var transform = new ShareEmbedding(json.String("table"), json.String("head"));
        json.Finish();
        return transform;
    }

    internal override void WriteTo(JsonObject json)
    {
        json["table"] = Table;
        json["head"] = Head;
    }

    internal override void Check(QuantizationPlan plan) => plan.Weight(Head, Name);

    internal override void Apply(PackedWeights weights)
    {
        var head = weights.Get(Head);
        var table = weights.Matched(Table, Name);
        if (!SameWeights.Compare(table.Matrix, head.Matrix, weights.Cancellation))
        {
            throw new PlanException($"{Name}: '{Table}' and '{Head}' do not hold the same values in this model");
        }

        head.Tables.AddRange(table.Tables);
    }
}
