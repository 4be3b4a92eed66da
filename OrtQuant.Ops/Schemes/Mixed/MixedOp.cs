using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Mixed;

/// <summary>The op that reads weights of scheme <c>mixed</c>. <c>SPEC.md</c>, "Op contract", says the same in a table.</summary>
public static class MixedOp
{
    private static readonly ElementType[] Activations = [ElementType.Float32, ElementType.Float16];

    /// <summary><c>ortquant::MixedBitMatMul</c>: the product with a packed weight.</summary>
    public static OpDescription MatMul { get; } = new(
        Domain: "ortquant",
        Name: "MixedBitMatMul",
        SinceVersion: 1,
        Summary: "Y = X . W^T + bias + (X . low_rank_a) . low_rank_b with W[n,k] = scale[n,c] * (s[n,g] * (q[n,k] - z[n,g]) + o[n,k])",
        Inputs:
        [
            new("X", TensorRole.Activation, Activations, "[..., K]"),
            new("W", TensorRole.PackedWeight, [ElementType.UInt8], "[T, V + R * block_size / 16, 64]"),
            new("scales", TensorRole.Scale, [ElementType.Float16], "[T, C, 16]"),
            new("group_scales", TensorRole.Scale, [ElementType.UInt8], "[T, G, 16]"),
            new("refined", TensorRole.PackedWeight, [ElementType.UInt8], "[T, ceil(G / 8)]", Optional: true),
            new("outlier_positions", TensorRole.Sparse, [ElementType.UInt8], "[T, C, P, 16]", Optional: true),
            new("outlier_values", TensorRole.Sparse, [ElementType.Int16], "[T, C, P, 16]", Optional: true),
            new("bias", TensorRole.Bias, Activations, "[N]", Optional: true),
            new("low_rank_a", TensorRole.LowRankA, Activations, "[K, r]", Optional: true),
            new("low_rank_b", TensorRole.LowRankB, Activations, "[r, N]", Optional: true),
        ],
        Outputs: [new("Y", Activations, "[..., N]")],
        Attributes:
        [
            new("K", AttributeKind.Int, "Inputs."),
            new("N", AttributeKind.Int, "Outputs."),
            new("block_size", AttributeKind.Int, "Group size: 16, 32 or 64."),
            new("refined_groups", AttributeKind.Int, "R: groups of each tile that have 4 bits; 0: none, and no input refined."),
            new("outliers", AttributeKind.Int, "P: outliers of a row in each block, 0 to 4; 0: no inputs of outliers."),
            new("accuracy_level", AttributeKind.Int, "0 or 1: float; 4: activations quantized to int8 at run time, a scale for each block of a row of X.", Required: false),
            new("layout", AttributeKind.String, "Stored layout: n16."),
            new("format_version", AttributeKind.Int, "Version of the format: 1."),
            .. MixedFallback.Attributes,
        ],
        Fallback: MixedFallback.Body,
        MinimumFallbackOpset: MixedFallback.MinimumOpset);

    /// <summary>The attributes of a <see cref="MatMul"/> node, those of its fallback included.</summary>
    /// <exception cref="OrtQuantException">Shape or parameters are outside of what the format holds.</exception>
    public static IReadOnlyList<OpAttributeValue> MatMulAttributes(WeightShape shape, MixedParameters parameters, int accuracyLevel)
    {
        var geometry = new MixedGeometry(shape, parameters);
        return
        [
            OpAttributeValue.Int("K", shape.K),
            OpAttributeValue.Int("N", shape.N),
            OpAttributeValue.Int("block_size", geometry.GroupSize),
            OpAttributeValue.Int("refined_groups", geometry.Refined),
            OpAttributeValue.Int("outliers", geometry.Outliers),
            OpAttributeValue.Int("accuracy_level", accuracyLevel),
            OpAttributeValue.String("layout", MixedScheme.Layout),
            OpAttributeValue.Int("format_version", MixedScheme.FormatVersion),
            .. MixedFallback.Values(geometry),
        ];
    }
}
