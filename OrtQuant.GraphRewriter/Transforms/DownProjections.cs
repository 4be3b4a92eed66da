using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Matching;

namespace OrtQuant.GraphRewriter.Transforms;

/// <summary>
/// Finds the linears at the end of a feed-forward block: what they read is made by elementwise nodes, an activation function among them, from the outputs of
/// other linears that all read one value. Nothing goes by names.
/// </summary>
internal static class DownProjections
{
    private const int MostNodes = 24;

    // Bends the line: what tells a feed-forward block from a sum of projections.
    private static readonly HashSet<string> ActivationFunctions =
        ["Sigmoid", "Tanh", "Erf", "Relu", "LeakyRelu", "Gelu", "FastGelu", "QuickGelu", "BiasGelu", "Silu", "Swish", "Mish", "HardSwish", "Elu", "Softplus"];

    private static readonly HashSet<string> Elementwise = ["Mul", "Add", "Sub", "Div", "Pow", "Sqrt", "Cast", "Identity", "Split", "Slice"];

    /// <summary>The linears, in graph order.</summary>
    internal static IEnumerable<LinearUse> Find(MatchedModel matched)
    {
        var linears = matched.Weights.SelectMany(weight => weight.Linears).ToList();
        var results = new Dictionary<OnnxValue, LinearUse>();
        foreach (var use in linears)
        {
            results.TryAdd(use.Y, use);
            results.TryAdd(use.Node.Outputs[0]!, use);
        }

        return linears.Where(use => IsDown(use, results));
    }

    private static bool IsDown(LinearUse down, Dictionary<OnnxValue, LinearUse> results)
    {
        var seen = new HashSet<OnnxNode>();
        var open = new Queue<OnnxValue>([down.X]);
        var sources = new HashSet<OnnxValue>();
        var bends = false;
        while (open.TryDequeue(out var value))
        {
            if (results.TryGetValue(value, out var use))
            {
                sources.Add(use.X);
                continue;
            }

            if (value.Constant is not null || ConstantView.IsConstant(value)) continue;
            if (value.Producer is not { } node || seen.Count == MostNodes) return false;
            if (!seen.Add(node)) continue;
            var isFunction = ActivationFunctions.Contains(node.OpType);
            if (!isFunction && !Elementwise.Contains(node.OpType)) return false;
            bends |= isFunction;
            foreach (var input in node.Inputs.OfType<OnnxValue>()) open.Enqueue(input);
        }

        return bends && sources.Count == 1 && !sources.Contains(down.X);
    }
}
