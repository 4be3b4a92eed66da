using OrtQuant.GraphRewriter.Graph;
using static OrtQuant.GraphRewriter.Matching.Pattern;

namespace OrtQuant.GraphRewriter.Matching.Patterns;

/// <summary><c>Y = MatMul(X, W)</c> with a constant W <c>[K, N]</c>, and the Add of a bias that follows it.</summary>
internal sealed class MatMulWeight : INodeMatcher
{
    private static readonly NodePattern Pattern = Node("MatMul", Activation("X"), Constant("W"));

    public NodeMatch Match(OnnxNode node)
    {
        if (DequantizedWeight.Find(node.Inputs.ElementAtOrDefault(1), transB: false) is { } quantized)
        {
            return quantized.Mismatch is { } obstacle ? obstacle : BiasAdd.Fuse(new LinearUse(node, quantized.Weight!, node.Inputs[0]!, node.Outputs[0]!));
        }

        var match = Pattern.Match(node);
        if (match.Bindings is not { } found) return match.Mismatch!;
        var view = found.Constant("W");
        if (WeightMatrix.OfLinear(view, transB: false, scale: 1, out var mismatch) is not { } weight) return mismatch!;
        var x = found.Value("X");
        if (view.Shape.Count > 2 && !(x.Shape?.Count >= view.Shape.Count))
        {
            return Mismatch.LeftAlone(
                $"weight has {view.Shape.Count} dimensions, which the result takes over unless X has as many; X has {x.Shape?.Count.ToString() ?? "an unknown number"}");
        }

        return BiasAdd.Fuse(new LinearUse(node, weight, x, node.Outputs[0]!));
    }
}
