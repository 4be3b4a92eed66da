using OrtQuant.Descriptions;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes.Dual;

/// <summary>
/// The body of <c>ortquant::DualGrainedMatMul</c>: rows back in order, then <c>com.microsoft::MatMulNBits</c> in float with the scale of row and group in one
/// and 8 in place of the zero point, corrected by (group sums of X) . (scale * (zp - 8 * group scale))^T. At the int8 level X is rounded first as
/// the kernels round it, one scale and zero point for a row, so that both multiply the same numbers.
/// </summary>
internal static class DualFallback
{
    public const int MinimumOpset = GroupFallback.MinimumOpset;

    private const int Bias = 6, LowRank = 7;
    private const int CastLikeOpset = 15;
    private const int ReduceTakesAxesAsInput = 18;
    private const int Int8Level = 4;
    private const float MaxInt8 = 127;

    // The zero point of com.microsoft::MatMulNBits where a node gives none.
    private const int ImplicitZeroPoint = 8;

    // Rows of smaller activations count as zero in the kernels; here they must only not divide by zero.
    private const float LeastMagnitude = 7.5231638e-37f;

    public static IReadOnlyList<OpAttributeDescription> Attributes { get; } =
    [
        Describe("fallback_codes_shape", "Shape of the weight of com.microsoft::MatMulNBits, [N, G, group size / 2]."),
        Describe("fallback_codes_pads", "From whole tiles and chunks to that shape, as ONNX pads."),
        Describe("fallback_group_pads", "From the outputs of whole tiles to N, as ONNX pads of [N, G]."),
        Describe("fallback_sum_rows", "Shape of X as a matrix, [-1, K]."),
        Describe("fallback_sum_pads", "From K to whole groups, as ONNX pads."),
        Describe("fallback_sum_groups", "Shape of X by groups, [-1, G, group size]."),
    ];

    /// <summary>Values of the attributes that <see cref="Body"/> reads for such a weight.</summary>
    public static IReadOnlyList<OpAttributeValue> Values(DualGeometry geometry)
    {
        var (n, k) = geometry.Shape;
        var grouped = (long)geometry.Groups * geometry.GroupSize;
        var spareRows = n - ((long)geometry.Tiles * DualGeometry.TileRows);
        return
        [
            OpAttributeValue.Ints("fallback_codes_shape", n, geometry.Groups, geometry.GroupSize / 2),
            GroupFallback.Pads("fallback_codes_pads", spareRows, (grouped - ((long)geometry.Chunks * DualGeometry.ChunkSize)) / 2),
            GroupFallback.Pads("fallback_group_pads", spareRows, 0),
            OpAttributeValue.Ints("fallback_sum_rows", -1, k),
            GroupFallback.Pads("fallback_sum_pads", 0, grouped - k),
            OpAttributeValue.Ints("fallback_sum_groups", -1, geometry.Groups, geometry.GroupSize),
        ];
    }

    /// <summary>The body for one node; null where the model's opset has none.</summary>
    public static FunctionBody? Body(FallbackCall call)
    {
        var type = call.Input(0) ?? ElementType.Undefined;
        if (call.Opset < MinimumOpset || (type is not (ElementType.Float32 or ElementType.Float16) && call.Opset < CastLikeOpset)) return null;

        var isFloat = type == ElementType.Float32;
        var isPadded = call.Int("K") % call.Int("block_size") != 0;
        var (hasBias, hasLowRank) = (call.Input(Bias) is not null, call.Input(LowRank) is not null);
        var body = new FunctionBodyBuilder();
        string ToFloat(string value) => isFloat ? value : body.Cast(value, ElementType.Float32);

        var x = ToFloat("X");
        var rounded = RoundAtInt8Level(body, call.Opset, x);
        var (scales, offsets) = Groups(body);
        var y = Multiply(body, rounded, scales);
        y = body.Node("Sub", [y, Correction(body, rounded, offsets, y, isPadded)]);
        if (hasBias) y = body.Node("Add", [y, ToFloat("bias")]);
        if (hasLowRank)
        {
            var projected = body.Node("MatMul", [x, ToFloat("low_rank_a")]);
            y = body.Node("Add", [y, body.Node("MatMul", [projected, ToFloat("low_rank_b")])]);
        }

        if (isFloat) body.Node("Identity", [y], output: "Y");
        else if (call.Opset >= CastLikeOpset) body.Node("CastLike", [y, "X"], output: "Y");
        else body.Node("Cast", [y], [new ValueAttribute(OpAttributeValue.Int("to", (long)type))], output: "Y");

        string[] parts = [isFloat ? "float32" : call.Opset >= CastLikeOpset ? "cast" : "float16", isPadded ? "padded" : "", hasBias ? "bias" : "", hasLowRank ? "low_rank" : ""];
        string[] inputs = ["X", "W", "scales", "zero_points", "group_scales", "row_sums", "bias", "low_rank_a", "low_rank_b"];
        return body.Build(string.Join('_', parts.Where(part => part.Length > 0)), inputs[..(hasLowRank ? 9 : 7)], "Y");
    }

    // X as the int8 kernels see it, where the node asks for them: step * (clamp(round(x / step) - p, -127, 127) + p), the range of the row cut into 254 steps.
    private static string RoundAtInt8Level(FunctionBodyBuilder body, int opset, string x)
    {
        var (zero, half) = (body.Float(0), body.Float(0.5f));
        var lowest = body.Node("Mul", [body.Node("Min", [Reduce("ReduceMin"), zero]), half]);
        var highest = body.Node("Mul", [body.Node("Max", [Reduce("ReduceMax"), zero]), half]);
        var radius = body.Node("Max", [body.Node("Sub", [highest, lowest]), body.Float(LeastMagnitude)]);
        var inverse = body.Node("Div", [body.Float(MaxInt8), radius]);
        var zeroPoint = body.Node("Round", [body.Node("Mul", [body.Node("Add", [highest, lowest]), inverse])]);
        var codes = body.Node("Sub", [body.Node("Round", [body.Node("Mul", [x, inverse])]), zeroPoint]);
        codes = body.Node("Add", [body.Node("Clip", [codes, body.Float(-MaxInt8), body.Float(MaxInt8)]), zeroPoint]);
        var rounded = body.Node("Mul", [codes, body.Node("Mul", [radius, body.Float(1f / MaxInt8)])]);
        var isInt8 = body.Node("Equal", [body.IntAttribute("accuracy_level"), body.Int(Int8Level)]);
        return body.Node("Where", [isInt8, rounded, x]);

        string Reduce(string op) => opset >= ReduceTakesAxesAsInput
            ? body.Node(op, [x, body.Ints(-1)])
            : body.Node(op, [x], [new ValueAttribute(OpAttributeValue.Ints("axes", -1))]);
    }

    // For each output and group the scale, [N, G], and what the implicit zero point leaves of the offset, [N, G].
    private static (string Scales, string Offsets) Groups(FunctionBodyBuilder body)
    {
        var rowScales = body.Unsqueeze("scales", 1);
        var groupScales = body.Cast("group_scales", ElementType.Float32);
        var zeroPoints = body.Cast("zero_points", ElementType.Float32);
        var offsets = body.Node("Sub", [zeroPoints, body.Node("Mul", [groupScales, body.Float(ImplicitZeroPoint)])]);
        return (ByOutput(groupScales), ByOutput(offsets));

        string ByOutput(string groups) =>
            body.PadBy(body.Flatten(body.Transpose(body.Node("Mul", [groups, rowScales]), 0, 2, 1), 2), "fallback_group_pads");
    }

    private static string Multiply(FunctionBodyBuilder body, string x, string scales)
    {
        var words = body.Transpose(body.Reshape("W", body.Ints(0, -1, 16, 4)), 0, 2, 1, 3);
        var codes = body.Reshape(body.PadBy(body.Flatten(words, 2), "fallback_codes_pads"), body.IntsAttribute("fallback_codes_shape"));
        FunctionAttribute[] attributes =
        [
            body.IntReference("K", "K"), body.IntReference("N", "N"), body.IntReference("block_size", "block_size"),
            new ValueAttribute(OpAttributeValue.Int("bits", DualGeometry.Bits)), new ValueAttribute(OpAttributeValue.Int("accuracy_level", 1)),
        ];
        return body.Node("MatMulNBits", [x, codes, scales], attributes, "com.microsoft");
    }

    private static string Correction(FunctionBodyBuilder body, string x, string offsets, string y, bool isPadded)
    {
        if (isPadded) x = body.PadBy(body.Reshape(x, body.IntsAttribute("fallback_sum_rows")), "fallback_sum_pads");
        var groups = body.Reshape(x, body.IntsAttribute("fallback_sum_groups"));
        var sums = body.Node("ReduceSum", [groups, body.Ints(2)], [new ValueAttribute(OpAttributeValue.Int("keepdims", 0))]);
        var product = body.Node("MatMul", [sums, body.Transpose(offsets, 1, 0)]);
        return body.Node("Reshape", [product, body.Node("Shape", [y])], [new ValueAttribute(OpAttributeValue.Int("allowzero", 1))]);
    }

    private static OpAttributeDescription Describe(string name, string summary) => new(name, AttributeKind.Ints, summary, Required: false, FallbackOnly: true);
}
