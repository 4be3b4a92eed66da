using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Rewriting;

namespace OrtQuant.GraphRewriter.Transforms;

/// <summary>
/// Linears that read the same input become one: <c>[Y1, Y2, ...] = Split(X · [W1; W2; ...]^T + [b1, b2, ...])</c>. Exact: groups lie
/// within a row, so every row keeps its codes. One pass over X, one start of the threads, instead of one for each.
/// </summary>
/// <param name="Weights">Names of the weights, in the order in which they are stacked.</param>
public sealed record MergeLinears(IReadOnlyList<string> Weights) : WeightTransform
{
    internal const string TransformName = "merge-linears";

    /// <inheritdoc/>
    public override string Name => TransformName;

    /// <inheritdoc/>
    public override string Summary => SummaryOf(Weights);

    /// <summary>The summary with other names for the weights.</summary>
    internal static string SummaryOf(IReadOnlyList<string> names) => $"{string.Join(" + ", names)} read the same input: one packed weight, then Split";

    internal static MergeLinears Read(JsonReader json)
    {
        var weights = json.Strings("weights");
        json.Finish();
        if (weights.Count < 2) throw new PlanException($"{json.Path}.weights has {weights.Count} names; it must have 2 or more");
        return new MergeLinears(weights);
    }

    internal override void WriteTo(JsonObject json) => json["weights"] = new JsonArray([.. Weights.Select(name => JsonValue.Create(name))]);

    internal override void Check(QuantizationPlan plan)
    {
        var first = plan.Weight(Weights[0], Name);
        foreach (var name in Weights.Skip(1))
        {
            var other = plan.Weight(name, Name);
            if (!first.AgreesWith(other))
            {
                throw new PlanException(
                    $"{Name} joins '{first.Name}' ({first.Settings()}) and '{other.Name}' ({other.Settings()}), which must be packed alike; remove the transform or make them equal");
            }
        }
    }

    internal override void Apply(PackedWeights weights)
    {
        var parts = Weights.Select(name => weights.Get(name)).ToArray();
        var first = parts[0];
        foreach (var part in parts)
        {
            if (part.Obstacle(first) is { } obstacle) throw new PlanException($"{Name} cannot join '{part.Name}' with '{first.Name}': {obstacle}");
        }

        weights.Replace(parts, PackedWeight.Stack(parts));
    }

    /// <summary>Equality by content: two plans that say the same are equal.</summary>
    public bool Equals(MergeLinears? other) => other is not null && Weights.SequenceEqual(other.Weights);

    /// <inheritdoc/>
    public override int GetHashCode() => Weights.Aggregate(0, HashCode.Combine);
}
