using OrtQuant.Descriptions;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes.Mixed;

/// <summary>
/// The body of <c>ortquant::MixedBitMatMul</c>: a group of 2 bits is one of 4 bits whose codes are 0, 4, 8 and 12, so <c>com.microsoft::MatMulNBits</c> of 4 bits
/// with integer zero points multiplies all of them; outliers are gathered from X. Codes, scales and zero points depend on constants only and are folded when the model
/// is loaded, 4.5 bits a weight. At the int8 level X is rounded first as the kernels round it.
/// </summary>
internal static class MixedFallback
{
    public const int MinimumOpset = GroupFallback.MinimumOpset;

    private const int Refined = 4, Positions = 5, Bias = 7, LowRank = 8;
    private const int CastLikeOpset = 15;
    private const int ReduceMaxTakesAxesAsInput = 18;
    private const int Int8Level = 4;
    private const float MaxInt8 = 127;

    // Blocks of smaller activations count as zero in the kernels; here they must only not divide by zero.
    private const float LeastMagnitude = 7.5231638e-37f;

    public static IReadOnlyList<OpAttributeDescription> Attributes { get; } =
    [
        Describe("fallback_vectors", "Vectors of a tile without those of refined groups, [V]."),
        Describe("fallback_vector_pads", "From whole vectors to whole groups of [T, 16, bytes of 4-bit codes], as ONNX pads."),
        Describe("fallback_group_shape", "Shape of tiles of 4-bit codes, [0, 16, G, group size / 2]."),
        Describe("fallback_codes_shape", "Shape of the weight of com.microsoft::MatMulNBits, [N, G, group size / 2]."),
        Describe("fallback_row_pads", "From the outputs of whole tiles to N, as ONNX pads of a matrix."),
        Describe("fallback_zero_point_pads", "The same with groups made even, as ONNX pads."),
        Describe("fallback_map_pads", "From whole bytes of the map of refined groups to G, as ONNX pads."),
        Describe("fallback_repeat", "Groups to a block, [1, 1, r, 1]."),
        Describe("fallback_scale_pads", "From groups of whole blocks to G of [T, groups, 16], as ONNX pads."),
        Describe("fallback_block_starts", "First input of each block, [C]."),
        Describe("fallback_rows", "Shape of X as a matrix, [-1, K]."),
        Describe("fallback_block_pads", "From K to whole blocks, as ONNX pads."),
        Describe("fallback_blocks", "Shape of X by blocks, [-1, C, block]."),
        Describe("fallback_padded_rows", "Shape of X in whole blocks as a matrix, [-1, C * block]."),
        Describe("fallback_crop_pads", "From whole blocks to K, as ONNX pads."),
    ];

    /// <summary>Values of the attributes that <see cref="Body"/> reads for such a weight.</summary>
    public static IReadOnlyList<OpAttributeValue> Values(MixedGeometry geometry)
    {
        var (n, k) = (geometry.Shape.N, geometry.Shape.K);
        var groupBytes = geometry.GroupSize / 2;
        var spareRows = n - ((long)geometry.Tiles * MixedGeometry.TileRows);
        var padded = (long)geometry.Blocks * geometry.BlockSize;
        return
        [
            OpAttributeValue.Ints("fallback_vectors", geometry.Vectors),
            OpAttributeValue.Ints("fallback_vector_pads", 0, 0, 0, 0, 0, (geometry.Groups * groupBytes) - (geometry.Vectors * MixedGeometry.VectorDepth / 2)),
            OpAttributeValue.Ints("fallback_group_shape", 0, MixedGeometry.TileRows, geometry.Groups, groupBytes),
            OpAttributeValue.Ints("fallback_codes_shape", n, geometry.Groups, groupBytes),
            GroupFallback.Pads("fallback_row_pads", spareRows, 0),
            GroupFallback.Pads("fallback_zero_point_pads", spareRows, geometry.Groups % 2),
            GroupFallback.Pads("fallback_map_pads", 0, geometry.Groups - (8 * geometry.MapBytes)),
            OpAttributeValue.Ints("fallback_repeat", 1, 1, geometry.GroupsPerBlock, 1),
            OpAttributeValue.Ints("fallback_scale_pads", 0, 0, 0, 0, geometry.Groups - (geometry.Blocks * geometry.GroupsPerBlock), 0),
            OpAttributeValue.Ints("fallback_block_starts", [.. Enumerable.Range(0, geometry.Blocks).Select(c => (long)c * geometry.BlockSize)]),
            OpAttributeValue.Ints("fallback_rows", -1, k),
            GroupFallback.Pads("fallback_block_pads", 0, padded - k),
            OpAttributeValue.Ints("fallback_blocks", -1, geometry.Blocks, geometry.BlockSize),
            OpAttributeValue.Ints("fallback_padded_rows", -1, padded),
            GroupFallback.Pads("fallback_crop_pads", 0, k - padded),
        ];
    }

    /// <summary>The body for one node; null where the model's opset has none.</summary>
    public static FunctionBody? Body(FallbackCall call)
    {
        var type = call.Input(0) ?? ElementType.Undefined;
        if (call.Opset < MinimumOpset || (type is not (ElementType.Float32 or ElementType.Float16) && call.Opset < CastLikeOpset)) return null;

        var isFloat = type == ElementType.Float32;
        var (isRefined, hasOutliers) = (call.Input(Refined) is not null, call.Input(Positions) is not null);
        var (hasBias, hasLowRank) = (call.Input(Bias) is not null, call.Input(LowRank) is not null);
        var body = new FunctionBodyBuilder();
        string ToFloat(string value) => isFloat ? value : body.Cast(value, ElementType.Float32);

        var x = ToFloat("X");
        var isInt8 = body.Node("Equal", [body.IntAttribute("accuracy_level"), body.Int(Int8Level)]);
        var rounded = body.Node("Where", [isInt8, Rounded(body, call.Opset, x), x]);
        var blockScales = body.Unsqueeze(body.Cast("scales", ElementType.Float32), 2);
        var y = Multiply(body, rounded, isRefined, blockScales);
        if (hasOutliers) y = body.Node("Add", [y, Outliers(body, rounded, blockScales, y)]);
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
            isFloat ? "float32" : call.Opset >= CastLikeOpset ? "cast" : "float16", isRefined ? "refined" : "", hasOutliers ? "outliers" : "",
            hasBias ? "bias" : "", hasLowRank ? "low_rank" : "",
        ];
        string[] inputs = ["X", "W", "scales", "group_scales", "refined", "outlier_positions", "outlier_values", "bias", "low_rank_a", "low_rank_b"];
        return body.Build(string.Join('_', parts.Where(part => part.Length > 0)), inputs[..(hasLowRank ? 10 : 8)], "Y");
    }

    // X as the int8 kernels see it: a step of absmax / 127 for each block of a row.
    private static string Rounded(FunctionBodyBuilder body, int opset, string x)
    {
        var rows = body.PadBy(body.Reshape(x, body.IntsAttribute("fallback_rows")), "fallback_block_pads");
        var blocks = body.Reshape(rows, body.IntsAttribute("fallback_blocks"));
        var magnitudes = body.Node("Abs", [blocks]);
        var largest = opset >= ReduceMaxTakesAxesAsInput
            ? body.Node("ReduceMax", [magnitudes, body.Ints(-1)])
            : body.Node("ReduceMax", [magnitudes], [new ValueAttribute(OpAttributeValue.Ints("axes", -1))]);
        var inverse = body.Node("Div", [body.Float(MaxInt8), body.Node("Max", [largest, body.Float(LeastMagnitude)])]);
        var codes = body.Node("Round", [body.Node("Mul", [blocks, inverse])]);
        var rounded = body.Node("Mul", [codes, body.Node("Mul", [largest, body.Float(1f / MaxInt8)])]);
        rounded = body.PadBy(body.Reshape(rounded, body.IntsAttribute("fallback_padded_rows")), "fallback_crop_pads");
        return body.Node("Reshape", [rounded, body.Node("Shape", [x])], [new ValueAttribute(OpAttributeValue.Int("allowzero", 1))]);
    }

    private static string Multiply(FunctionBodyBuilder body, string x, bool isRefined, string blockScales)
    {
        var end = body.IntsAttribute("fallback_vectors");
        var codes = Nibbles(body, body.Node("Slice", ["W", body.Ints(0), end, body.Ints(1)]), 2);
        codes = body.Reshape(body.PadBy(codes, "fallback_vector_pads"), body.IntsAttribute("fallback_group_shape"));
        if (isRefined) codes = body.Node("Add", [codes, LowerBits(body, end)]);
        codes = body.Reshape(body.PadBy(body.Flatten(codes, 2), "fallback_row_pads"), body.IntsAttribute("fallback_codes_shape"));

        var low = body.ShiftRight(body.ShiftLeft("group_scales", body.Bytes(4)), body.Bytes(4));
        var repeated = body.Node("Expand", [blockScales, body.IntsAttribute("fallback_repeat")]);
        repeated = body.PadBy(body.Reshape(repeated, body.Ints(0, -1, MixedGeometry.TileRows)), "fallback_scale_pads");
        var scales = body.Node("Mul", [body.Cast(low, ElementType.Float32), repeated]);
        scales = body.PadBy(body.Flatten(body.Transpose(scales, 0, 2, 1), 2), "fallback_row_pads");

        var zeroPoints = body.Flatten(body.Transpose(body.ShiftRight("group_scales", body.Bytes(4)), 0, 2, 1), 2);
        zeroPoints = body.Reshape(body.PadBy(zeroPoints, "fallback_zero_point_pads"), body.Ints(0, -1, 2));
        zeroPoints = body.Flatten(Paired(body, body.ShiftLeft(zeroPoints, body.Bytes(0, 4)), 2), 1);
        FunctionAttribute[] attributes =
        [
            body.IntReference("K", "K"), body.IntReference("N", "N"), body.IntReference("block_size", "block_size"),
            new ValueAttribute(OpAttributeValue.Int("bits", 4)), new ValueAttribute(OpAttributeValue.Int("accuracy_level", 1)),
        ];
        return body.Node("MatMulNBits", [x, codes, scales, zeroPoints], attributes, "com.microsoft");
    }

    // The lower two bits of each refined group at its place, zeros at the others: [T, 16, G, group size / 2]. The r-th bit that is set in the map stands for the r-th
    // group stored, and the 0-th is one of zeros put before them.
    private static string LowerBits(FunctionBodyBuilder body, string start)
    {
        var last = body.Ints(long.MaxValue);
        var stored = Nibbles(body, body.Node("Slice", ["W", start, last, body.Ints(1)]), 0);
        var count = body.IntAttribute("refined_groups");
        var shape = body.Node("Concat", [body.Ints(0, MixedGeometry.TileRows), body.Unsqueeze(count, 0), body.Ints(-1)], [new ValueAttribute(OpAttributeValue.Int("axis", 0))]);
        var groups = body.Transpose(body.Reshape(stored, shape), 0, 2, 1, 3);
        groups = body.Node("Pad", [groups, body.Ints(0, 1, 0, 0, 0, 0, 0, 0)]);

        var bits = body.Flatten(GroupFallback.Fields(body, body.Unsqueeze("refined", 2), 1), 1);
        bits = body.Cast(body.PadBy(bits, "fallback_map_pads"), ElementType.Int64);
        var places = body.Node("Mul", [bits, body.Node("CumSum", [bits, body.Int(1)])]);
        places = body.Node("Where", [body.Node("Greater", [places, count]), body.Int(0), places]);
        var gathered = body.Node("GatherND", [groups, body.Unsqueeze(places, 2)], [new ValueAttribute(OpAttributeValue.Int("batch_dims", 1))]);
        return body.Transpose(gathered, 0, 2, 1, 3);
    }

    // Vectors [T, v, 64] of 2-bit codes as 4-bit ones, each shifted to the left: [T, 16, v * 8].
    private static string Nibbles(FunctionBodyBuilder body, string vectors, int shift)
    {
        var words = body.Transpose(body.Reshape(vectors, body.Ints(0, -1, MixedGeometry.TileRows, 4, 1)), 0, 2, 1, 3, 4);
        var fields = body.ShiftLeft(GroupFallback.Fields(body, words, 2), body.Bytes(shift, shift + 4, shift, shift + 4));
        var bytes = Paired(body, body.Reshape(fields, body.Ints(0, 0, 0, 8, 2)), 4);
        return body.Reshape(bytes, body.Ints(0, 0, -1));
    }

    // The two elements of an axis added up.
    private static string Paired(FunctionBodyBuilder body, string pairs, long axis) =>
        body.Node("Add", [body.Slice(pairs, 0, 1, axis), body.Slice(pairs, 1, 2, axis)]);

    // For each output the inputs at its outliers, times them, in the shape of Y. ONNX Runtime 1.29 sums no rows along a negative axis to a wrong shape.
    private static string Outliers(FunctionBodyBuilder body, string x, string blockScales, string y)
    {
        var starts = body.Reshape(body.IntsAttribute("fallback_block_starts"), body.Ints(-1, 1, 1));
        var positions = ByOutput(body.Node("Add", [body.Cast("outlier_positions", ElementType.Int64), starts]));
        var values = ByOutput(body.Node("Mul", [body.Cast("outlier_values", ElementType.Float32), blockScales]));
        var rows = body.Reshape(x, body.IntsAttribute("fallback_rows"));
        var inputs = body.Node("Gather", [rows, positions], [new ValueAttribute(OpAttributeValue.Int("axis", 1))]);
        var products = body.Node("Mul", [inputs, values]);
        var sums = body.Node("ReduceSum", [products, body.Ints(2)], [new ValueAttribute(OpAttributeValue.Int("keepdims", 0))]);
        return body.Node("Reshape", [sums, body.Node("Shape", [y])], [new ValueAttribute(OpAttributeValue.Int("allowzero", 1))]);

        string ByOutput(string slots) => body.PadBy(body.Flatten(body.Transpose(slots, 0, 3, 1, 2), 2), "fallback_row_pads");
    }

    private static OpAttributeDescription Describe(string name, string summary) => new(name, AttributeKind.Ints, summary, Required: false, FallbackOnly: true);
}
