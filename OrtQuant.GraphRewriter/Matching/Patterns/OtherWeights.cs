using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Matching.Patterns;

/// <summary>Ops that hold matrices in a form that is not rewritten: they are listed, so that nothing is left out in silence.</summary>
internal sealed class OtherWeights : INodeMatcher
{
    private const string Microsoft = "com.microsoft";
    private const string Int8 = "its weight is int8 already and its activations are quantized by nodes of the graph";
    private const string NoPattern = "no pattern takes this op; MatMul, Gemm and Gather are rewritten";

    private static readonly Dictionary<(string Domain, string OpType), string> Reasons = new()
    {
        [("", "MatMulInteger")] = Int8,
        [("", "QLinearMatMul")] = Int8,
        [(Microsoft, "DynamicQuantizeMatMul")] = Int8,
        [(Microsoft, "MatMulIntegerToFloat")] = Int8,
        [(Microsoft, "QGemm")] = Int8,
        [(Microsoft, "QAttention")] = Int8,
        [(Microsoft, "MatMulBnb4")] = "its weight is in 4-bit float or normal-float blocks already",
        [(Microsoft, "QMoE")] = "its experts are quantized already",
        [(Microsoft, "MoE")] = "its experts are 3-D weights inside one op; only MatMul, Gemm and Gather are rewritten",
        [(Microsoft, "Attention")] = NoPattern,
        [(Microsoft, "FusedMatMul")] = NoPattern,
        [(Microsoft, "FusedGemm")] = NoPattern,
        [(Microsoft, "GemmFastGelu")] = NoPattern,
        [(Microsoft, "TransposeMatMul")] = NoPattern,
        [("", "Einsum")] = NoPattern,
        [("", "LSTM")] = NoPattern,
        [("", "GRU")] = NoPattern,
        [("", "RNN")] = NoPattern,
    };

    internal static bool Knows(OnnxNode node) => Reasons.ContainsKey((node.Domain, node.OpType));

    public NodeMatch Match(OnnxNode node) =>
        node.Inputs.Any(input => input is not null && ConstantView.IsConstant(input) && ConstantView.Trace(input, out _)?.Shape.Count != 1)
            ? Mismatch.LeftAlone(Reasons[(node.Domain, node.OpType)])
            : Mismatch.NotAWeight("no input is a constant matrix");
}
