using OrtQuant.GraphRewriter.Graph;
using static OrtQuant.GraphRewriter.Matching.Pattern;

namespace OrtQuant.GraphRewriter.Matching.Patterns;

/// <summary>
/// <c>Y = Gemm(X, W, C) = alpha · X' · W' + beta · C</c> with a constant W and any transA, transB, alpha and beta. Alpha goes into the
/// weight, beta into the bias; a C that is no bias vector (a column, a full matrix, a computed value) is added by an Add of its own.
/// </summary>
internal sealed class GemmWeight : INodeMatcher
{
    private static readonly NodePattern Pattern = Node("Gemm", Activation("X"), Constant("W"), Optional(Any("C")));

    private static readonly NodePattern Dequantized = Node("Gemm", Activation("X"), Any("W"), Optional(Any("C")));

    public NodeMatch Match(OnnxNode node)
    {
        var transB = node.GetInt("transB", 0) != 0;
        var quantized = DequantizedWeight.Find(node.Inputs.ElementAtOrDefault(1), transB);
        var match = (quantized is null ? Pattern : Dequantized).Match(node);
        if (match.Bindings is not { } found) return match.Mismatch!;
        var (alpha, beta) = (node.GetFloat("alpha", 1), node.GetFloat("beta", 1));
        if (!float.IsFinite(alpha) || alpha == 0) return Mismatch.LeftAlone($"Gemm has alpha {alpha}; it must be finite and not 0");
        if (!float.IsFinite(beta)) return Mismatch.LeftAlone($"Gemm has beta {beta}; it must be finite");
        if (quantized is not null && alpha != 1) return Mismatch.LeftAlone($"its quantized weight is multiplied by alpha {alpha}; it must be 1");
        var (weight, mismatch) = quantized ?? (WeightMatrix.OfLinear(found.Constant("W"), transB, alpha, out var obstacle), obstacle);
        if (weight is null) return mismatch!;

        var linear = new LinearUse(node, weight, found.Value("X"), node.Outputs[0]!) { TransposeX = node.GetInt("transA", 0) != 0 };
        if (beta == 0 || found.ValueOrNull("C") is not { } c) return BiasAdd.Fuse(linear);
        return found.ConstantOrNull("C") is { } constant && BiasAdd.IsVector(constant, weight, rank: 2)
            ? linear with { Bias = new LinearBias(constant, beta) }
            : linear with { Addend = (c, beta) };
    }
}
