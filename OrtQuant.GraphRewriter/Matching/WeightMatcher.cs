using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Matching.Patterns;

namespace OrtQuant.GraphRewriter.Matching;

/// <summary>
/// Finds every constant matrix that a model multiplies by or gathers from, in the main graph and in the bodies of If, Loop and
/// Scan, and says of every other node with weights why it is left alone. Reads shapes and attributes, never weights.
/// </summary>
internal static class WeightMatcher
{
    private static readonly Dictionary<(string Domain, string OpType), INodeMatcher> Matchers = new()
    {
        [("", "MatMul")] = new MatMulWeight(),
        [("", "Gemm")] = new GemmWeight(),
        [("", "Gather")] = new GatherTable(),
    };

    private static readonly OtherWeights Others = new();
    private static readonly QuantizedWeights Quantized = new();

    internal static MatchedModel Match(OnnxModel model)
    {
        var uses = new Dictionary<WeightMatrix, (List<LinearUse> Linears, List<TableUse> Tables)>();
        var order = new List<WeightMatrix>();
        var skipped = new List<SkippedNode>();
        foreach (var node in model.AllGraphs.SelectMany(graph => graph.Nodes))
        {
            var match = MatchNode(node);
            if (match.Mismatch?.Kind == MismatchKind.LeftAlone)
            {
                skipped.Add(new SkippedNode(node.DisplayName(), node.OpType, match.Mismatch.Reason));
            }

            if (match.Linear is { } linear) Uses(linear.Weight).Linears.Add(linear);
            if (match.Table is { } table) Uses(table.Table).Tables.Add(table);
        }

        var names = new WeightNames();
        return new MatchedModel(
            [.. order.Select(matrix => new MatchedWeight(names.Of(matrix), matrix, uses[matrix].Linears, uses[matrix].Tables))], skipped);

        (List<LinearUse> Linears, List<TableUse> Tables) Uses(WeightMatrix matrix)
        {
            if (!uses.TryGetValue(matrix, out var found))
            {
                uses[matrix] = found = ([], []);
                order.Add(matrix);
            }

            return found;
        }
    }

    internal static NodeMatch MatchNode(OnnxNode node)
    {
        if (Matchers.TryGetValue((node.Domain, node.OpType), out var matcher)) return matcher.Match(node);
        if (QuantizedWeights.Knows(node)) return Quantized.Match(node);
        return OtherWeights.Knows(node) ? Others.Match(node) : Mismatch.NotAWeight($"{node.OpType} holds no matrix");
    }

    /// <summary>
    /// Names of weights for people: the initializer's, made unique where branches of an If hold initializers of one name or one
    /// tensor is read as two different matrices.
    /// </summary>
    private sealed class WeightNames
    {
        private readonly HashSet<string> _taken = [];

        internal string Of(WeightMatrix matrix)
        {
            var name = matrix.Root.Name;
            if (_taken.Add(name)) return name;
            for (var i = 2; ; i++)
            {
                if (_taken.Add($"{name}#{i}")) return $"{name}#{i}";
            }
        }
    }
}
