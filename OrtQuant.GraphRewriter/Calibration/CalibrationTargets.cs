using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Quantizers;
using OrtQuant.GraphRewriter.Rewriting;

namespace OrtQuant.GraphRewriter.Calibration;

/// <summary>The weights whose algorithms use statistics, and the values of the graph that these are gathered of.</summary>
internal sealed class CalibrationTargets
{
    private readonly AppliedPlan _applied;
    private readonly List<CalibratedInput> _inputs = [];
    private readonly List<UncalibratedWeight> _without = [];

    /// <summary>Looks through the weights of a rewritten model.</summary>
    internal CalibrationTargets(AppliedPlan applied)
    {
        _applied = applied;
        All = [.. applied.Encodings.Where(encoding => encoding.Algorithm != PlannedWeight.Adopt && Needs(encoding) > StatisticsLevel.None)];
        Level = All.Count == 0 ? StatisticsLevel.None : All.Max(Needs);
        foreach (var group in All.Where(encoding => !IsLeftOut(encoding)).GroupBy(encoding => encoding.Weight.Linears[0][0].Use.X.Name))
        {
            var consumers = group.SelectMany(encoding => encoding.Weight.Linears).SelectMany(parts => parts)
                .Where(part => part.Use.X.Name == group.Key && part.Use.Node.Graph.Parent is null).Select(part => part.Use.Node.Outputs[0]!.Name);
            _inputs.Add(new CalibratedInput(group.Key, (int)group.First().Weight.Shape.K, [.. group], consumers.ToHashSet()));
        }
    }

    /// <summary>Weights whose algorithms use statistics.</summary>
    internal IReadOnlyList<WeightEncoding> All { get; }

    /// <summary>Those of them that none can be gathered for.</summary>
    internal IReadOnlyList<UncalibratedWeight> Without => _without;

    /// <summary>The most that any of them uses.</summary>
    internal StatisticsLevel Level { get; }

    /// <summary>What one algorithm uses.</summary>
    internal static StatisticsLevel Needs(WeightEncoding encoding) => QuantizerCatalog.Get(encoding.Algorithm).StatisticsNeeded;

    /// <summary>The graph, ready to be cut.</summary>
    /// <param name="graph">The main graph before it was rewritten.</param>
    internal SegmentedGraph Segments(OnnxGraph graph)
    {
        var packed = new Dictionary<string, long>();
        var together = new Dictionary<string, string>();
        foreach (var weight in _applied.Encodings.Select(encoding => encoding.Weight))
        {
            foreach (var part in weight.Linears.SelectMany(parts => parts))
            {
                var raw = part.Use.Node.Outputs[0]!.Name;
                packed[raw] = packed[part.Use.Y.Name] = part.N * weight.Shape.K;
                if (part.Use.BiasAdd is not null) together[raw] = part.Use.Y.Name;
            }

            foreach (var table in weight.Tables) packed[table.Node.Outputs[0]!.Name] = weight.Shape.K;
        }

        return new SegmentedGraph(graph, _inputs, packed, together);
    }

    private bool IsLeftOut(WeightEncoding encoding)
    {
        var weight = encoding.Weight;
        var reason = weight.Linears.Count == 0 ? "it is a table that rows are gathered from; nothing is multiplied by it"
            : weight.Linears[0][0].Use.Node.Graph.Parent is not null ? "it is in a body of an If, Loop or Scan"
            : weight.Linears[0][0].Use.TransposeX ? "its Gemm transposes X"
            : null;
        if (reason is not null) _without.Add(new UncalibratedWeight(weight.Name, reason));
        return reason is not null;
    }
}
