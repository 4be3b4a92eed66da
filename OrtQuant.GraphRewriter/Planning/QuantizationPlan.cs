using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Matching;
using OrtQuant.GraphRewriter.Quantizers;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Transforms;

namespace OrtQuant.GraphRewriter.Planning;

/// <summary>
/// What a rewrite does, as data: transforms in order, an entry for each weight, and the reason for each node that is left alone.
/// Immutable; printable (<see cref="PlanReport"/>), JSON, stable in its order, so that two plans can be compared line by line and
/// a user can edit one and give it back.
/// </summary>
public sealed record QuantizationPlan
{
    /// <summary>Where the rewritten model is meant to run.</summary>
    public RewriteTarget Target { get; init; }

    /// <summary>Which ops are written.</summary>
    public EmittedOps Emit { get; init; }

    /// <summary>Exact changes of the model, in the order in which they are made.</summary>
    public IReadOnlyList<Transform> Transforms { get; init; } = [];

    /// <summary>The weights that are packed, in the order in which the graph first reads them.</summary>
    public IReadOnlyList<PlannedWeight> Weights { get; init; } = [];

    /// <summary>Nodes with weights that stay as they are.</summary>
    public IReadOnlyList<SkippedNode> Skipped { get; init; } = [];

    /// <summary>Whether any weight's algorithm uses statistics of activations.</summary>
    public bool UsesStatistics =>
        Weights.Any(weight => weight.Algorithm != PlannedWeight.Adopt && QuantizerCatalog.Get(weight.Algorithm).StatisticsNeeded > StatisticsLevel.None);

    /// <summary>Plans the rewrite of a model. The model is not changed, and of its weights only those are read that may be two copies of one.</summary>
    /// <param name="model">The model.</param>
    /// <param name="options">What the user asks for; null for the defaults.</param>
    /// <param name="cancellation">Stops the comparison of weights.</param>
    /// <exception cref="PlanException">An option names something that does not exist or cannot be.</exception>
    public static QuantizationPlan Create(OnnxModel model, PlanOptions? options = null, CancellationToken cancellation = default) =>
        new Planner(options ?? new PlanOptions(), cancellation).Plan(model);

    /// <summary>The plan as JSON; <see cref="FromJson"/> gives it back.</summary>
    public JsonObject ToJson() => PlanJson.Write(this);

    /// <summary>Reads a plan.</summary>
    /// <param name="json">A plan as <see cref="ToJson"/> writes it. <c>why</c>, <c>n</c>, <c>k</c> and <c>skipped</c> may be absent.</param>
    /// <exception cref="PlanException">A member is missing, unknown, or has a value that is not permitted.</exception>
    public static QuantizationPlan FromJson(JsonObject json) => PlanJson.Read(json);

    /// <summary>Says how the plan does not fit a model: what <c>rewrite</c> would say.</summary>
    /// <exception cref="PlanException">A weight or node of the plan is not in the model, or has another shape there.</exception>
    public void CheckAgainst(OnnxModel model, CancellationToken cancellation = default) =>
        _ = PackedWeights.Prepare(model.Clone(), this, cancellation);

    /// <summary>The entry of a weight that something else in the plan refers to.</summary>
    internal PlannedWeight Weight(string name, string referrer) =>
        Weights.FirstOrDefault(weight => weight.Name == name)
        ?? throw new PlanException($"{referrer} names weight '{name}', which has no entry in the plan");

    /// <summary>Says how the plan contradicts itself.</summary>
    /// <exception cref="PlanException">Two entries of one weight, or a transform that does not fit the entries.</exception>
    internal void Check()
    {
        var names = new HashSet<string>();
        foreach (var weight in Weights)
        {
            if (!names.Add(weight.Name)) throw new PlanException($"weight '{weight.Name}' has two entries in the plan; it must have one");
        }

        var merged = new HashSet<string>();
        foreach (var transform in Transforms.OfType<WeightTransform>())
        {
            transform.Check(this);
            foreach (var name in (transform as MergeLinears)?.Weights ?? [])
            {
                if (!merged.Add(name)) throw new PlanException($"weight '{name}' is in two {transform.Name} transforms; it must be in one");
            }
        }

        var lastGraph = Transforms.ToList().FindLastIndex(transform => transform is GraphTransform);
        var firstWeight = Transforms.ToList().FindIndex(transform => transform is WeightTransform);
        if (firstWeight >= 0 && lastGraph > firstWeight)
        {
            throw new PlanException(
                $"transform {Transforms[lastGraph].Name} comes after {Transforms[firstWeight].Name}; changes of the graph must come before changes of weights");
        }
    }
}
