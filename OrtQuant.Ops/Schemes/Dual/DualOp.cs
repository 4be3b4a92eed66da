using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Dual;

/// <summary>The op that reads weights of scheme <c>dual</c>. <c>SPEC.md</c>, "Op contract", says the same in a table.</summary>
public static class DualOp
{
    private static readonly ElementType[] Activations = [ElementType.Float32, ElementType.Float16];

    /// <summary><c>ortquant::DualGrainedMatMul</c>: the product with a packed weight.</summary>
    public static OpDescription MatMul { get; } = new(
        Domain: "ortquant",
        Name: "DualGrainedMatMul",
        SinceVersion: 1,
        Summary: "Y = X . W^T + bias + (X . low_rank_a) . low_rank_b with W[n,k] = scale[n] * (group_scale[n,g] * q[n,k] - zp[n,g])",
        Inputs:
        [
            new("X", TensorRole.Activation, Activations, "[..., K]"),
            new("W", TensorRole.PackedWeight, [ElementType.UInt8], "[T, C, 256]"),
            new("scales", TensorRole.Scale, [ElementType.Float32], "[T, 16]"),
            new("zero_points", TensorRole.ZeroPoint, [ElementType.Int8], "[T, G, 16]"),
            new("group_scales", TensorRole.Scale, [ElementType.UInt8], "[T, G, 16]"),
            new("row_sums", TensorRole.RowSum, [ElementType.Int32], "[T, 16]"),
            new("bias", TensorRole.Bias, Activations, "[N]", Optional: true),
            new("low_rank_a", TensorRole.LowRankA, Activations, "[K, r]", Optional: true),
            new("low_rank_b", TensorRole.LowRankB, Activations, "[r, N]", Optional: true),
        ],
        Outputs: [new("Y", Activations, "[..., N]")],
        Attributes:
        [
            new("K", AttributeKind.Int, "Inputs."),
            new("N", AttributeKind.Int, "Outputs."),
            new("block_size", AttributeKind.Int, "Group size: 32, 64, 128 or 256."),
            new("accuracy_level", AttributeKind.Int, "0 or 1: float; 4: activations quantized to int8 at run time, one scale and zero point for a row of X.", Required: false),
            new("layout", AttributeKind.String, "Stored layout: n16."),
            new("format_version", AttributeKind.Int, "Version of the format: 1."),
            .. DualFallback.Attributes,
        ],
        Fallback: DualFallback.Body,
        MinimumFallbackOpset: DualFallback.MinimumOpset);

    /// <summary>The attributes of a <see cref="MatMul"/> node, those of its fallback included.</summary>
    /// <exception cref="OrtQuantException">Shape or parameters are outside of what the format holds.</exception>
    public static IReadOnlyList<OpAttributeValue> MatMulAttributes(WeightShape shape, DualParameters parameters, int accuracyLevel)
    {
        var geometry = new DualGeometry(shape, parameters);
        return
        [
            OpAttributeValue.Int("K", shape.K),
            OpAttributeValue.Int("N", shape.N),
            OpAttributeValue.Int("block_size", geometry.GroupSize),
            OpAttributeValue.Int("accuracy_level", accuracyLevel),
            OpAttributeValue.String("layout", DualScheme.Layout),
            OpAttributeValue.Int("format_version", DualScheme.FormatVersion),
            .. DualFallback.Values(geometry),
        ];
    }
}
