using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Group;

/// <summary>The op that multiplies with weights of scheme <c>group</c>.</summary>
public static class GroupOp
{
    private static readonly ElementType[] Activations = [ElementType.Float32, ElementType.Float16];

    /// <summary><c>ortquant::MatMulNBits</c>.</summary>
    public static OpDescription MatMul { get; } = new(
        Domain: "ortquant",
        Name: "MatMulNBits",
        SinceVersion: 1,
        Summary: "Y = X . W^T + bias + (X . low_rank_a) . low_rank_b with W[n,k] = scale[n,g] * (q[n,k] - zp[n,g])",
        Inputs:
        [
            new("X", TensorRole.Activation, Activations, "[..., K]"),
            new("W", TensorRole.PackedWeight, [ElementType.UInt8], "[T, C, 64 * bits]"),
            new("scales", TensorRole.Scale, Activations, "[T, G, 16]"),
            new("zero_points", TensorRole.ZeroPoint, [ElementType.UInt8, ElementType.Float32, ElementType.Float16], "[T, ceil(G * zb / 8), 16] or [T, G, 16]", Optional: true),
            new("bias", TensorRole.Bias, Activations, "[N]", Optional: true),
            new("low_rank_a", TensorRole.LowRankA, Activations, "[K, r]", Optional: true),
            new("low_rank_b", TensorRole.LowRankB, Activations, "[r, N]", Optional: true),
        ],
        Outputs: [new("Y", Activations, "[..., N]")],
        Attributes:
        [
            new("K", AttributeKind.Int, "Inputs."),
            new("N", AttributeKind.Int, "Outputs."),
            new("bits", AttributeKind.Int, "Width of a code: 2, 3, 4 or 8."),
            new("block_size", AttributeKind.Int, "Group size: a power of two, at least 16, or -1 for a whole row."),
            new("accuracy_level", AttributeKind.Int, "0 or 1: float; 4: activations quantized to int8 at run time.", Required: false),
            new("layout", AttributeKind.String, "Stored layout: n16."),
            new("format_version", AttributeKind.Int, "Version of the format: 1."),
        ],
        Fallback: static _ => null,
        MinimumFallbackOpset: int.MaxValue);

    /// <summary><c>ortquant::GatherNBits</c>.</summary>
    public static OpDescription Gather { get; } = new(
        Domain: "ortquant",
        Name: "GatherNBits",
        SinceVersion: 1,
        Summary: "Y[..., k] = W[indices[...], k] with W[n,k] = scale[n,g] * (q[n,k] - zp[n,g])",
        Inputs:
        [
            new("indices", TensorRole.Indices, [ElementType.Int32, ElementType.Int64], "[...]"),
            .. MatMul.Inputs.Skip(1).Take(3),
        ],
        Outputs: [new("Y", Activations, "[..., K]")],
        Attributes:
        [
            .. MatMul.Attributes.Where(attribute => attribute.Name != "accuracy_level"),
            new("dtype", AttributeKind.Int, "Type of Y: 1 float32, 10 float16."),
        ],
        Fallback: static _ => null,
        MinimumFallbackOpset: int.MaxValue);
}
