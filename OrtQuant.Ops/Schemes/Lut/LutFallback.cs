using OrtQuant.Descriptions;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes.Lut;

/// <summary>
/// The body of <c>ortquant::LutGemm</c>: planes unpacked and dequantized to float32, all of it constants that ONNX Runtime folds when it loads the model, then
/// <c>MatMul</c>. At the int8 level X is rounded first as the kernels round it, so that both multiply the same numbers.
/// </summary>
internal static class LutFallback
{
    public const int MinimumOpset = GroupFallback.MinimumOpset;

    private const int Bias = 4, LowRank = 5;
    private const int CastLikeOpset = 15;
    private const int ReduceTakesAxesAsInput = 18;
    private const int Int8Level = 4;
    private const int LargestBlock = 128;
    private const float MaxInt8 = 127;
    private const float MaxQuad = 253;

    // Blocks of smaller activations count as zero in the kernels; here they must only not divide by zero.
    private const float LeastMagnitude = 7.5231638e-37f;

    public static IReadOnlyList<OpAttributeDescription> Attributes { get; } =
    [
        Describe("fallback_plane_pads", "From the outputs and inputs of whole tiles and chunks to N and whole groups, as ONNX pads."),
        Describe("fallback_group_pads", "From the outputs of whole tiles to N, as ONNX pads of [N, G]."),
        Describe("fallback_groups_shape", "Shape of the weight by groups, [N, G, group size]."),
        Describe("fallback_weight_pads", "From whole groups to K, as ONNX pads."),
        Describe("fallback_rows_shape", "Shape of X as a matrix, [-1, K]."),
        Describe("fallback_rows_pads", "From K to whole blocks of activations, as ONNX pads."),
        Describe("fallback_quads_shape", "Shape of X by blocks and quads, [-1, blocks, quads, 4]."),
        Describe("fallback_blocks_shape", "Shape of X in whole blocks, [-1, blocks * block]."),
        Describe("fallback_rows_crop", "From whole blocks to K, as ONNX pads."),
    ];

    /// <summary>Values of the attributes that <see cref="Body"/> reads for such a weight.</summary>
    public static IReadOnlyList<OpAttributeValue> Values(LutGeometry geometry)
    {
        var (n, k) = geometry.Shape;
        var grouped = (long)geometry.Groups * geometry.GroupSize;
        var spareRows = n - ((long)geometry.Tiles * LutGeometry.TileRows);
        long block = geometry.Parameters.GroupSize == LutParameters.WholeRow ? LargestBlock : Math.Min(geometry.GroupSize, LargestBlock);
        var blocks = (k + block - 1) / block;
        return
        [
            GroupFallback.Pads("fallback_plane_pads", spareRows, grouped - ((long)geometry.Chunks * LutGeometry.ChunkSize)),
            GroupFallback.Pads("fallback_group_pads", spareRows, 0),
            OpAttributeValue.Ints("fallback_groups_shape", n, geometry.Groups, geometry.GroupSize),
            GroupFallback.Pads("fallback_weight_pads", 0, k - grouped),
            OpAttributeValue.Ints("fallback_rows_shape", -1, k),
            GroupFallback.Pads("fallback_rows_pads", 0, (blocks * block) - k),
            OpAttributeValue.Ints("fallback_quads_shape", -1, blocks, block / 4, 4),
            OpAttributeValue.Ints("fallback_blocks_shape", -1, blocks * block),
            GroupFallback.Pads("fallback_rows_crop", 0, k - (blocks * block)),
        ];
    }

    /// <summary>The body for one node; null where the model's opset has none.</summary>
    public static FunctionBody? Body(FallbackCall call)
    {
        var type = call.Input(0) ?? ElementType.Undefined;
        if (call.Opset < MinimumOpset || (type is not (ElementType.Float32 or ElementType.Float16) && call.Opset < CastLikeOpset)) return null;

        var isFloat = type == ElementType.Float32;
        var (hasBias, hasLowRank) = (call.Input(Bias) is not null, call.Input(LowRank) is not null);
        var bits = (int)call.Int("bits");
        var isFree = call.Attributes.First(attribute => attribute.Name == "levels").AsString() == LutScheme.NameOf(LutLevels.Free);
        var body = new FunctionBodyBuilder();
        string ToFloat(string value) => isFloat ? value : body.Cast(value, ElementType.Float32);

        var x = ToFloat("X");
        var weight = body.Flatten(isFree ? Free(body, bits) : Uniform(body, bits), 1);
        var y = body.Node("MatMul", [RoundAtInt8Level(body, call.Opset, x), body.Transpose(body.PadBy(weight, "fallback_weight_pads"), 1, 0)]);
        if (hasBias) y = body.Node("Add", [y, ToFloat("bias")]);
        if (hasLowRank)
        {
            var projected = body.Node("MatMul", [x, ToFloat("low_rank_a")]);
            y = body.Node("Add", [y, body.Node("MatMul", [projected, ToFloat("low_rank_b")])]);
        }

        if (isFloat) body.Node("Identity", [y], output: "Y");
        else if (call.Opset >= CastLikeOpset) body.Node("CastLike", [y, "X"], output: "Y");
        else body.Node("Cast", [y], [new ValueAttribute(OpAttributeValue.Int("to", (long)type))], output: "Y");

        string[] parts =
        [
            isFree ? "free" : "uniform", $"{bits}bit", isFloat ? "float32" : call.Opset >= CastLikeOpset ? "cast" : "float16",
            hasBias ? "bias" : "", hasLowRank ? "low_rank" : "",
        ];
        string[] inputs = ["X", "W", "scales", "zero_points", "bias", "low_rank_a", "low_rank_b"];
        return body.Build(string.Join('_', parts.Where(part => part.Length > 0)), inputs[..(hasLowRank ? 7 : 5)], "Y");
    }

    // z + sum alpha_i * (2 c_i - 1), plane by plane as SPEC.md has it, [N, G, group size].
    private static string Free(FunctionBodyBuilder body, int bits)
    {
        var alphas = Coefficients(body);
        var weight = Offsets(body);
        for (var plane = 0; plane < bits; plane++)
        {
            var sign = body.Node("Sub", [body.Node("Mul", [Plane(body, bits, plane), body.Float(2)]), body.Float(1)]);
            weight = body.Node("Add", [weight, body.Node("Mul", [sign, body.Slice(alphas, plane, plane + 1, 2)])]);
        }

        return weight;
    }

    // scale * (q - zp), [N, G, group size].
    private static string Uniform(FunctionBodyBuilder body, int bits)
    {
        var codes = Plane(body, bits, 0);
        for (var plane = 1; plane < bits; plane++)
        {
            codes = body.Node("Add", [codes, body.Node("Mul", [Plane(body, bits, plane), body.Float(1 << plane)])]);
        }

        return body.Node("Mul", [body.Node("Sub", [codes, Offsets(body)]), Coefficients(body)]);
    }

    // One plane as 0 and 1, [N, G, group size].
    private static string Plane(FunctionBodyBuilder body, int bits, int plane)
    {
        var first = plane / 2 * 2;
        var width = first + 1 < bits ? 2 : 1;
        var octets = body.Reshape("W", body.Ints(0, -1, LutGeometry.TileRows * bits));
        if (width < bits) octets = body.Slice(octets, LutGeometry.TileRows * first, LutGeometry.TileRows * (first + width), 2);
        var planes = body.Reshape(octets, body.Ints(0, 0, LutGeometry.TileRows, width));
        if (width == 2) planes = body.Slice(planes, plane - first, plane - first + 1, 3);
        var fields = GroupFallback.Fields(body, body.Transpose(planes, 0, 2, 1, 3), 1);
        var rows = body.PadBy(body.Flatten(body.Cast(fields, ElementType.Float32), 2), "fallback_plane_pads");
        return body.Reshape(rows, body.IntsAttribute("fallback_groups_shape"));
    }

    // [N, G, A].
    private static string Coefficients(FunctionBodyBuilder body)
    {
        // [T, G, A, 16] -> [T, 16, G, A] -> [16 T, G A] -> rows cut to N -> [N, G, A]
        var byOutput = body.Flatten(body.Transpose(body.Cast("scales", ElementType.Float32), 0, 3, 1, 2), 2);
        var groups = body.Slice(body.IntsAttribute("fallback_groups_shape"), 0, 2, 0);
        return body.Reshape(body.PadBy(byOutput, "fallback_group_pads"), body.Node("Concat", [groups, body.Ints(-1)], [new ValueAttribute(OpAttributeValue.Int("axis", 0))]));
    }

    // [N, G, 1].
    private static string Offsets(FunctionBodyBuilder body)
    {
        var byOutput = body.Flatten(body.Transpose(body.Cast("zero_points", ElementType.Float32), 0, 2, 1), 2);
        return body.Unsqueeze(body.PadBy(byOutput, "fallback_group_pads"), 2);
    }

    // X as the int8 kernels see it, where the node asks for them: a step for each block, by its largest magnitude and its largest sum of four magnitudes.
    private static string RoundAtInt8Level(FunctionBodyBuilder body, int opset, string x)
    {
        var rows = body.PadBy(body.Reshape(x, body.IntsAttribute("fallback_rows_shape")), "fallback_rows_pads");
        var quads = body.Reshape(rows, body.IntsAttribute("fallback_quads_shape"));
        var magnitudes = body.Node("Abs", [quads]);
        var sums = body.Node("ReduceSum", [magnitudes, body.Ints(3)]);
        var range = body.Node("Max", [Largest(magnitudes), body.Node("Mul", [Largest(sums), body.Float(MaxInt8 / MaxQuad)])]);
        range = body.Node("Max", [range, body.Float(LeastMagnitude)]);
        var codes = body.Node("Round", [body.Node("Mul", [quads, body.Node("Div", [body.Float(MaxInt8), range])])]);
        var rounded = body.Node("Mul", [codes, body.Node("Mul", [range, body.Float(1f / MaxInt8)])]);
        rounded = body.PadBy(body.Reshape(rounded, body.IntsAttribute("fallback_blocks_shape")), "fallback_rows_crop");
        rounded = body.Node("Reshape", [rounded, body.Node("Shape", [x])], [new ValueAttribute(OpAttributeValue.Int("allowzero", 1))]);
        return body.Node("Where", [body.Node("Equal", [body.IntAttribute("accuracy_level"), body.Int(Int8Level)]), rounded, x]);

        string Largest(string value) => opset >= ReduceTakesAxesAsInput
            ? body.Node("ReduceMax", [value, body.Ints(2, 3)])
            : body.Node("ReduceMax", [value], [new ValueAttribute(OpAttributeValue.Ints("axes", 2, 3))]);
    }

    private static OpAttributeDescription Describe(string name, string summary) => new(name, AttributeKind.Ints, summary, Required: false, FallbackOnly: true);
}
