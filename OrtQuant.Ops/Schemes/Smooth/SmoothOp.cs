using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Smooth;

/// <summary>The op that reads weights of scheme <c>smooth</c>. <c>SPEC.md</c>, "Op contract", says the same in a table.</summary>
public static class SmoothOp
{
    private static readonly ElementType[] Activations = [ElementType.Float32, ElementType.Float16];

    /// <summary><c>ortquant::RuntimeSmoothMatMul</c>: the product with a packed weight.</summary>
    public static OpDescription MatMul { get; } = new(
        Domain: "ortquant",
        Name: "RuntimeSmoothMatMul",
        SinceVersion: 1,
        Summary: "Y = X' . W^T + bias + (X . low_rank_a) . low_rank_b with W[n,p] = scale[n,g] * (q[n,p] - 8) and X'[..., p] = X[..., channel_order[p]]",
        Inputs:
        [
            new("X", TensorRole.Activation, Activations, "[..., K]"),
            new("W", TensorRole.PackedWeight, [ElementType.UInt8], "[T, C, 256]"),
            new("scales", TensorRole.Scale, Activations, "[T, G, 16]"),
            new("channel_order", TensorRole.ChannelOrder, [ElementType.Int32], "[K]", Optional: true),
            new("bias", TensorRole.Bias, Activations, "[N]", Optional: true),
            new("low_rank_a", TensorRole.LowRankA, Activations, "[K, r]", Optional: true),
            new("low_rank_b", TensorRole.LowRankB, Activations, "[r, N]", Optional: true),
        ],
        Outputs: [new("Y", Activations, "[..., N]")],
        Attributes:
        [
            new("K", AttributeKind.Int, "Inputs."),
            new("N", AttributeKind.Int, "Outputs."),
            new("block_size", AttributeKind.Int, "Weights that share a scale: a power of two, at least 16, or -1 for a whole row."),
            new("smooth_size", AttributeKind.Int, "Activations of a row that are divided by one maximum: a power of two, at least 16."),
            new("smooth_scope", AttributeKind.String, "Rows over which the maximum is taken: call (all), token (each by itself), none (no smoothing)."),
            new("activation_bits", AttributeKind.Int, "Width of a quantized activation: 4 or 8."),
            new("accuracy_level", AttributeKind.Int, "0 or 1: float, without smoothing; 4: activations smoothed and quantized at run time.", Required: false),
            new("layout", AttributeKind.String, "Stored layout: n16."),
            new("format_version", AttributeKind.Int, "Version of the format: 1."),
            .. SmoothFallback.Attributes,
        ],
        Fallback: SmoothFallback.Body,
        MinimumFallbackOpset: SmoothFallback.MinimumOpset);

    /// <summary>The attributes of a <see cref="MatMul"/> node, those of its fallback included.</summary>
    /// <exception cref="OrtQuantException">Shape or parameters are outside of what the format holds.</exception>
    public static IReadOnlyList<OpAttributeValue> MatMulAttributes(WeightShape shape, SmoothParameters parameters, int accuracyLevel) =>
    [
        OpAttributeValue.Int("K", shape.K),
        OpAttributeValue.Int("N", shape.N),
        OpAttributeValue.Int("block_size", parameters.GroupSize),
        OpAttributeValue.Int("smooth_size", parameters.SmoothSize),
        OpAttributeValue.String("smooth_scope", SmoothJson.Name(parameters.Scope)),
        OpAttributeValue.Int("activation_bits", parameters.ActivationBits),
        OpAttributeValue.Int("accuracy_level", accuracyLevel),
        OpAttributeValue.String("layout", SmoothScheme.Layout),
        OpAttributeValue.Int("format_version", SmoothScheme.FormatVersion),
        .. SmoothFallback.Values(shape, parameters),
    ];
}
