using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Lut;

/// <summary>The op that reads weights of scheme <c>lut</c>. <c>SPEC.md</c>, "Op contract", says the same in a table.</summary>
public static class LutOp
{
    private static readonly ElementType[] Activations = [ElementType.Float32, ElementType.Float16];

    /// <summary><c>ortquant::LutGemm</c>: the product with a packed weight.</summary>
    public static OpDescription MatMul { get; } = new(
        Domain: "ortquant",
        Name: "LutGemm",
        SinceVersion: 1,
        Summary: "Y = X . W^T + bias + (X . low_rank_a) . low_rank_b with W[n,k] = z[n,g] + sum_i alpha[n,g,i] * (2 c_i[n,k] - 1), or scale[n,g] * (q[n,k] - zp[n,g])",
        Inputs:
        [
            new("X", TensorRole.Activation, Activations, "[..., K]"),
            new("W", TensorRole.PackedWeight, [ElementType.UInt8], "[T, C, 64 * bits]"),
            new("scales", TensorRole.Scale, [ElementType.Float32, ElementType.Float16], "[T, G, A, 16]"),
            new("zero_points", TensorRole.ZeroPoint, [ElementType.UInt8, ElementType.Float32, ElementType.Float16], "[T, G, 16]"),
            new("bias", TensorRole.Bias, Activations, "[N]", Optional: true),
            new("low_rank_a", TensorRole.LowRankA, Activations, "[K, r]", Optional: true),
            new("low_rank_b", TensorRole.LowRankB, Activations, "[r, N]", Optional: true),
        ],
        Outputs: [new("Y", Activations, "[..., N]")],
        Attributes:
        [
            new("K", AttributeKind.Int, "Inputs."),
            new("N", AttributeKind.Int, "Outputs."),
            new("bits", AttributeKind.Int, "Planes: 1, 2, 3 or 4; with uniform levels 2, 3 or 4."),
            new("block_size", AttributeKind.Int, "Group size: a power of two, at least 16, or -1 for a whole row."),
            new("levels", AttributeKind.String, "free: a coefficient for each plane and an offset; uniform: a scale and a zero point."),
            new("accuracy_level", AttributeKind.Int, "0 or 1: float; 4: activations quantized to int8 at run time.", Required: false),
            new("layout", AttributeKind.String, "Stored layout: p16."),
            new("format_version", AttributeKind.Int, "Version of the format: 1."),
            .. LutFallback.Attributes,
        ],
        Fallback: LutFallback.Body,
        MinimumFallbackOpset: LutFallback.MinimumOpset);

    /// <summary>The attributes of a <see cref="MatMul"/> node, those of its fallback included.</summary>
    /// <exception cref="OrtQuantException">Shape or parameters are outside of what the format holds.</exception>
    public static IReadOnlyList<OpAttributeValue> MatMulAttributes(WeightShape shape, LutParameters parameters, int accuracyLevel)
    {
        var geometry = new LutGeometry(shape, parameters);
        return
        [
            OpAttributeValue.Int("K", shape.K),
            OpAttributeValue.Int("N", shape.N),
            OpAttributeValue.Int("bits", parameters.Bits),
            OpAttributeValue.Int("block_size", parameters.GroupSize),
            OpAttributeValue.String("levels", LutScheme.NameOf(parameters.Levels)),
            OpAttributeValue.Int("accuracy_level", accuracyLevel),
            OpAttributeValue.String("layout", LutScheme.Layout),
            OpAttributeValue.Int("format_version", LutScheme.FormatVersion),
            .. LutFallback.Values(geometry),
        ];
    }
}
