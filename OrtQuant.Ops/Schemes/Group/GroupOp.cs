using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Group;

/// <summary>The ops that read weights of scheme <c>group</c>. <c>SPEC.md</c>, "Op contracts", says the same in a table.</summary>
public static class GroupOp
{
    private static readonly ElementType[] Activations = [ElementType.Float32, ElementType.Float16];

    private static readonly OpInput[] Weights =
    [
        new("W", TensorRole.PackedWeight, [ElementType.UInt8], "[T, C, 64 * bits]"),
        new("scales", TensorRole.Scale, Activations, "[T, G, 16]"),
        new("zero_points", TensorRole.ZeroPoint, [ElementType.UInt8, ElementType.Float32, ElementType.Float16], "[T, ceil(G * zb / 8), 16] or [T, G, 16]", Optional: true),
    ];

    private static readonly OpAttributeDescription[] Geometry =
    [
        new("K", AttributeKind.Int, "Inputs."),
        new("N", AttributeKind.Int, "Outputs."),
        new("bits", AttributeKind.Int, "Width of a code: 2, 3, 4 or 8."),
        new("block_size", AttributeKind.Int, "Group size: a power of two, at least 16, or -1 for a whole row."),
    ];

    private static readonly OpAttributeDescription[] Stored =
    [
        new("layout", AttributeKind.String, "Stored layout: n16."),
        new("format_version", AttributeKind.Int, "Version of the format: 1."),
    ];

    /// <summary><c>ortquant::MatMulNBits</c>: the product with a packed weight.</summary>
    public static OpDescription MatMul { get; } = new(
        Domain: "ortquant",
        Name: "MatMulNBits",
        SinceVersion: 1,
        Summary: "Y = X . W^T + bias + (X . low_rank_a) . low_rank_b with W[n,k] = scale[n,g] * (q[n,k] - zp[n,g])",
        Inputs:
        [
            new("X", TensorRole.Activation, Activations, "[..., K]"),
            .. Weights,
            new("bias", TensorRole.Bias, Activations, "[N]", Optional: true),
            new("low_rank_a", TensorRole.LowRankA, Activations, "[K, r]", Optional: true),
            new("low_rank_b", TensorRole.LowRankB, Activations, "[r, N]", Optional: true),
        ],
        Outputs: [new("Y", Activations, "[..., N]")],
        Attributes:
        [
            .. Geometry,
            new("accuracy_level", AttributeKind.Int, "0 or 1: float; 4: activations quantized to int8 at run time.", Required: false),
            .. Stored,
            .. MatMulFallback.Attributes,
        ],
        Fallback: MatMulFallback.Body,
        MinimumFallbackOpset: GroupFallback.MinimumOpset);

    /// <summary><c>ortquant::GatherNBits</c>: rows of a packed weight, an embedding that shares its bytes with the head.</summary>
    public static OpDescription Gather { get; } = new(
        Domain: "ortquant",
        Name: "GatherNBits",
        SinceVersion: 1,
        Summary: "Y[..., k] = W[indices[...], k] with W[n,k] = scale[n,g] * (q[n,k] - zp[n,g])",
        Inputs: [new("indices", TensorRole.Indices, [ElementType.Int32, ElementType.Int64], "[...]"), .. Weights],
        Outputs: [new("Y", Activations, "[..., K]")],
        Attributes:
        [
            .. Geometry,
            .. Stored,
            new("dtype", AttributeKind.Int, "Element type of Y: 1 (float) or 10 (float16)."),
            .. GatherFallback.Attributes,
        ],
        Fallback: GatherFallback.Body,
        MinimumFallbackOpset: GroupFallback.MinimumOpset);

    /// <summary>The attributes of a <see cref="MatMul"/> node, those of its fallback included.</summary>
    /// <exception cref="OrtQuantException">Shape or parameters are outside of what the format holds.</exception>
    public static IReadOnlyList<OpAttributeValue> MatMulAttributes(WeightShape shape, GroupParameters parameters, int accuracyLevel)
    {
        var geometry = new GroupGeometry(shape, parameters);
        return
        [
            .. GeometryValues(geometry),
            OpAttributeValue.Int("accuracy_level", accuracyLevel),
            .. StoredValues(),
            .. MatMulFallback.Values(geometry),
        ];
    }

    /// <summary>The attributes of a <see cref="Gather"/> node, those of its fallback included.</summary>
    /// <exception cref="OrtQuantException">Shape or parameters are outside of what the format holds.</exception>
    public static IReadOnlyList<OpAttributeValue> GatherAttributes(WeightShape shape, GroupParameters parameters, ElementType outputType)
    {
        var geometry = new GroupGeometry(shape, parameters);
        return
        [
            .. GeometryValues(geometry),
            .. StoredValues(),
            OpAttributeValue.Int("dtype", (long)outputType),
            .. GatherFallback.Values(geometry),
        ];
    }

    private static OpAttributeValue[] GeometryValues(GroupGeometry geometry) =>
    [
        OpAttributeValue.Int("K", geometry.Shape.K),
        OpAttributeValue.Int("N", geometry.Shape.N),
        OpAttributeValue.Int("bits", geometry.Parameters.Bits),
        OpAttributeValue.Int("block_size", geometry.Parameters.GroupSize),
    ];

    private static OpAttributeValue[] StoredValues() =>
    [
        OpAttributeValue.String("layout", GroupScheme.Layout),
        OpAttributeValue.Int("format_version", GroupScheme.FormatVersion),
    ];
}
