using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Matching;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Transforms;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Rewriting;

/// <summary>The weights of a model that a plan packs: what weight transforms work on.</summary>
internal sealed class PackedWeights
{
    private readonly Dictionary<string, MatchedWeight> _matched;
    private readonly List<PackedWeight> _weights = [];

    /// <summary>Finds the weights of a plan in a model.</summary>
    /// <exception cref="PlanException">A weight or node of the plan is not in the model, or has another shape there.</exception>
    private PackedWeights(MatchedModel matched, QuantizationPlan plan, CancellationToken cancellation)
    {
        _matched = matched.Weights.ToDictionary(weight => weight.Name);
        Cancellation = cancellation;
        var sharedTables = plan.Transforms.OfType<ShareEmbedding>().ToLookup(share => share.Head, share => share.Table);
        foreach (var planned in plan.Weights) _weights.Add(Find(planned, sharedTables[planned.Name]));
    }

    /// <summary>Makes a plan's transforms, of the graph first, then of the weights.</summary>
    /// <param name="model">Changed by the transforms of the graph.</param>
    /// <param name="plan">The plan.</param>
    /// <param name="cancellation">Stops the comparison of weights.</param>
    /// <exception cref="PlanException">The plan does not hold for the model.</exception>
    internal static PackedWeights Prepare(OnnxModel model, QuantizationPlan plan, CancellationToken cancellation)
    {
        plan.Check();
        foreach (var transform in plan.Transforms.OfType<GraphTransform>()) transform.Apply(model);
        var weights = new PackedWeights(WeightMatcher.Match(model), plan, cancellation);
        foreach (var transform in plan.Transforms.OfType<WeightTransform>()) transform.Apply(weights);
        return weights;
    }

    internal CancellationToken Cancellation { get; }

    /// <summary>The weights as they stand, in order.</summary>
    internal IReadOnlyList<PackedWeight> All => _weights;

    /// <summary>Every weight as it was found, packed or not.</summary>
    internal IReadOnlyList<MatchedWeight> AllMatched => [.. _matched.Values];

    /// <summary>A weight as it was found, packed or not.</summary>
    internal MatchedWeight Matched(string name, string referrer) =>
        _matched.GetValueOrDefault(name)
        ?? throw new PlanException($"{referrer} names weight '{name}', which the model does not have{Suggestion(name)}");

    /// <summary>A weight that is packed.</summary>
    internal PackedWeight Get(string name) =>
        _weights.Find(weight => weight.Name == name) ?? throw new PlanException($"weight '{name}' is not in the plan or was merged before");

    /// <summary>Puts one weight in the place of several.</summary>
    internal void Replace(IReadOnlyList<PackedWeight> old, PackedWeight weight)
    {
        _weights[_weights.IndexOf(old[0])] = weight;
        _weights.RemoveAll(old.Contains);
    }

    private PackedWeight Find(PlannedWeight planned, IEnumerable<string> sharedTables)
    {
        var weight = Matched(planned.Name, "the plan");
        var shape = new WeightShape(
            planned.Shape.N == 0 ? weight.Matrix.Shape.N : planned.Shape.N, planned.Shape.K == 0 ? weight.Matrix.Shape.K : planned.Shape.K);
        if (shape != weight.Matrix.Shape)
        {
            throw new PlanException(
                $"weight '{planned.Name}' is {shape} in the plan and {weight.Matrix.Shape} in the model; the plan is for another model");
        }

        var consumers = planned.Consumers.ToHashSet();
        var tables = sharedTables.SelectMany(name => Matched(name, "the plan").Tables);
        var known = weight.Linears.Select(use => use.Node.DisplayName())
            .Concat(weight.Tables.Concat(tables).Select(use => use.Node.DisplayName())).ToList();
        if (consumers.Except(known).FirstOrDefault() is { } unknown)
        {
            throw new PlanException(
                $"weight '{planned.Name}' is not read by node '{unknown}', as the plan has it; it is read by {string.Join(", ", known)}");
        }

        return new PackedWeight(
            planned,
            weight.Matrix,
            weight.Linears.Where(use => consumers.Contains(use.Node.DisplayName())),
            weight.Tables.Where(use => consumers.Contains(use.Node.DisplayName())));
    }

    private string Suggestion(string name)
    {
        var closest = _matched.Keys.MinBy(known => Distance(known, name));
        return closest is not null && Distance(closest, name) <= Math.Max(2, name.Length / 4) ? $"; did you mean '{closest}'?" : "";
    }

    /// <summary>Levenshtein distance: the fewest characters to insert, delete or replace.</summary>
    private static int Distance(string a, string b)
    {
        var row = Enumerable.Range(0, b.Length + 1).ToArray();
        for (var i = 1; i <= a.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var above = row[j];
                row[j] = Math.Min(Math.Min(row[j] + 1, row[j - 1] + 1), diagonal + (a[i - 1] == b[j - 1] ? 0 : 1));
                diagonal = above;
            }
        }

        return row[b.Length];
    }
}
