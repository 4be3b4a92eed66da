using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Adapters;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.Schemes.Group;

namespace OrtQuant.GraphRewriter.Transforms;

/// <summary>
/// An adapter that leaves codes alone. LoRA becomes the low-rank inputs of the op, <c>Y += (X A) B</c>; QA-LoRA, whose change is the same for all weights of a
/// group, goes into the groups' float zero points, which is exact whether the weights are quantized here or were before.
/// </summary>
/// <param name="Folder">Folder of the adapter.</param>
/// <param name="Pooling">For QA-LoRA: what the trainer did to a group of inputs.</param>
public sealed record AttachAdapter(string Folder, AdapterPooling Pooling = AdapterPooling.Peft) : WeightTransform
{
    internal const string TransformName = "attach-adapter";

    internal static readonly Dictionary<AdapterPooling, string> PoolingNames = new()
    {
        [AdapterPooling.Peft] = "peft",
        [AdapterPooling.Mean] = "mean",
        [AdapterPooling.Sum] = "sum",
    };

    /// <inheritdoc/>
    public override string Name => TransformName;

    /// <inheritdoc/>
    public override string Summary => $"adapter {Folder} is kept beside the codes: LoRA as low-rank inputs, QA-LoRA in zero points";

    internal static AttachAdapter Read(JsonReader json)
    {
        var transform = new AttachAdapter(json.String("adapter"), json.Choice("pooling", AdapterPooling.Peft, PoolingNames));
        json.Finish();
        return transform;
    }

    internal override void WriteTo(JsonObject json)
    {
        json["adapter"] = Folder;
        json["pooling"] = PoolingNames[Pooling];
    }

    internal override void Check(QuantizationPlan plan)
    {
        if (plan.Emit == EmittedOps.Microsoft && !IsQuantizationAware()) throw new PlanException("com.microsoft::MatMulNBits has no low-rank inputs; merge the adapter, or emit ortquant ops");
    }

    internal override void Apply(PackedWeights weights)
    {
        using var adapter = LoraAdapter.Open(Folder);
        foreach (var target in AdapterTargets.Find(adapter.Modules, weights.AllMatched))
        {
            if (weights.All.FirstOrDefault(weight => weight.Name == target.Weight.Name) is not { } packed)
            {
                throw new PlanException($"the adapter changes weight '{target.Weight.Name}', which is left alone; it must be packed, or the adapter be merged");
            }

            if (packed.Linears.Count != target.Linears.Count) throw new PlanException($"the adapter changes weight '{packed.Name}' for {target.Linears.Count} of the {packed.Linears.Count} nodes that multiply by it; it must be all, or the adapter be merged");
            var change = adapter.Configuration.IsQuantizationAware
                ? target.PooledChange(adapter.Configuration.QuantizationGroup, Pooling, packed.Matrix.Scale)
                : target.Change(packed.Matrix.Scale);
            if (change.Pool > 1) CheckGroups(packed, change.Pool);
            packed.Changes.Add(change.InMemory());
        }
    }

    private static void CheckGroups(PackedWeight weight, int pool)
    {
        if (weight.Plan.Parameters is GroupParameters { ZeroPoint: ZeroPointKind.Float, GroupSize: > 0 and var size } && pool % size == 0) return;
        throw new PlanException($"weight '{weight.Name}' is {weight.Plan.Parameters}; a QA-LoRA adapter of groups of {pool} needs float zero points and a group size that divides {pool}");
    }

    private bool IsQuantizationAware()
    {
        using var adapter = LoraAdapter.Open(Folder);
        return adapter.Configuration.IsQuantizationAware;
    }
}
