using OrtQuant.Descriptions;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes.Smooth;

/// <summary>
/// The body of <c>ortquant::RuntimeSmoothMatMul</c>: X brought into the order of the weight's K and rounded as the kernels round it, by the same operations of
/// float32 in the same order, so that both multiply the same numbers; then <c>com.microsoft::MatMulNBits</c> in float on rows put back in order.
/// </summary>
internal static class SmoothFallback
{
    public const int MinimumOpset = GroupFallback.MinimumOpset;

    private const int ChannelOrder = 3, Bias = 4, LowRank = 5;
    private const int CastLikeOpset = 15;
    private const int ReduceTakesAxesAsInput = 18;
    private const int Int8Level = 4;

    // 2^-100: maxima and largest quotients below count as zero.
    private const float LeastMagnitude = 7.888609e-31f;

    private static readonly string[] Shared = ["fallback_block_size", "fallback_codes_shape", "fallback_codes_pads", "fallback_scale_pads", "fallback_repeat"];

    public static IReadOnlyList<OpAttributeDescription> Attributes { get; } =
    [
        .. MatMulFallback.Attributes.Where(attribute => Shared.Contains(attribute.Name)),
        Describe("fallback_smooth_rows", "Shape of X as a matrix, [-1, K]."),
        Describe("fallback_smooth_pads", "From K to whole groups of activations, as ONNX pads."),
        Describe("fallback_smooth_groups", "Shape of X by those groups, [-1, groups, size]."),
        Describe("fallback_smooth_flat", "Shape of the groups side by side, [-1, groups * size]."),
        Describe("fallback_smooth_crop", "From whole groups back to K, as ONNX pads."),
    ];

    /// <summary>Values of the attributes that <see cref="Body"/> reads for such a weight.</summary>
    public static IReadOnlyList<OpAttributeValue> Values(WeightShape shape, SmoothParameters parameters)
    {
        var groups = (shape.K + parameters.SmoothSize - 1) / parameters.SmoothSize;
        var whole = groups * parameters.SmoothSize;
        return
        [
            .. MatMulFallback.Values(SmoothGeometry.Of(shape, parameters)),
            OpAttributeValue.Ints("fallback_smooth_rows", -1, shape.K),
            GroupFallback.Pads("fallback_smooth_pads", 0, whole - shape.K),
            OpAttributeValue.Ints("fallback_smooth_groups", -1, groups, parameters.SmoothSize),
            OpAttributeValue.Ints("fallback_smooth_flat", -1, whole),
            GroupFallback.Pads("fallback_smooth_crop", 0, shape.K - whole),
        ];
    }

    /// <summary>The body for one node; null where the model's opset has none.</summary>
    public static FunctionBody? Body(FallbackCall call)
    {
        var type = call.Input(0) ?? ElementType.Undefined;
        if (call.Opset < MinimumOpset || (type is not (ElementType.Float32 or ElementType.Float16) && call.Opset < CastLikeOpset)) return null;

        var isFloat = type == ElementType.Float32;
        var (hasOrder, hasBias, hasLowRank) = (call.Input(ChannelOrder) is not null, call.Input(Bias) is not null, call.Input(LowRank) is not null);
        var weights = new GroupParameters(SmoothGeometry.Bits, (int)call.Int("block_size"), ZeroPointKind.None);
        var geometry = new GroupGeometry(new WeightShape(call.Int("N"), call.Int("K")), weights);
        var scope = call.Text("smooth_scope");
        var body = new FunctionBodyBuilder();
        string ToFloat(string value) => isFloat ? value : body.Cast(value, ElementType.Float32);

        var x = ToFloat("X");
        var ordered = hasOrder ? body.Node("Gather", [x, "channel_order"], [new ValueAttribute(OpAttributeValue.Int("axis", -1))]) : x;
        var y = MatMulFallback.FloatProduct(body, geometry, RoundAtInt8Level(body, call.Opset, scope, ordered));
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
            scope, MatMulFallback.VariantOf(geometry), isFloat ? "" : call.Opset >= CastLikeOpset ? "cast" : "float16",
            hasOrder ? "ordered" : "", hasBias ? "bias" : "", hasLowRank ? "low_rank" : "",
        ];
        string[] inputs = ["X", "W", "scales", "channel_order", "bias", "low_rank_a", "low_rank_b"];
        return body.Build(string.Join('_', parts.Where(part => part.Length > 0)), inputs[..(hasLowRank ? 7 : 5)], "Y");
    }

    // X as the int8 kernels see it, where the node asks for them: by groups, divided by their maxima s, a row rounded in steps of its largest quotient / L.
    private static string RoundAtInt8Level(FunctionBodyBuilder body, int opset, string scope, string x)
    {
        var rows = body.PadBy(body.Reshape(x, body.IntsAttribute("fallback_smooth_rows")), "fallback_smooth_pads");
        var values = body.Reshape(rows, body.IntsAttribute("fallback_smooth_groups"));
        var (zero, least) = (body.Float(0), body.Float(LeastMagnitude));
        string? smooth = null;
        var smoothed = values;
        if (scope != SmoothJson.Name(SmoothScope.None))
        {
            smooth = Largest(values, 2);
            // A row of zeros before the others: there is a maximum where X has no rows.
            if (scope == SmoothJson.Name(SmoothScope.Call)) smooth = Largest(body.Node("Pad", [smooth, body.Ints(1, 0, 0, 0, 0, 0)]), 0);
            smoothed = body.Node("Mul", [values, Quotient(body.Float(1), smooth)]);
        }

        var limit = body.Node("Where", [Is("activation_bits", 4), body.Float(7), body.Float(127)]);
        var top = Largest(smoothed, 1, 2);
        var codes = body.Node("Round", [body.Node("Mul", [smoothed, Quotient(limit, top)])]);
        var largest = smooth is null ? top : body.Node("Mul", [smooth, top]);
        var scale = body.Node("Mul", [largest, body.Node("Div", [body.Float(1), limit])]);
        var flat = body.Reshape(body.Node("Mul", [codes, scale]), body.IntsAttribute("fallback_smooth_flat"));
        var shape = body.Node("Shape", [x]);
        var rounded = body.Node("Reshape", [body.PadBy(flat, "fallback_smooth_crop"), shape], [new ValueAttribute(OpAttributeValue.Int("allowzero", 1))]);
        return body.Node("Where", [Is("accuracy_level", Int8Level), rounded, x]);

        string Is(string attribute, long value) => body.Node("Equal", [body.IntAttribute(attribute), body.Int(value)]);

        string Quotient(string dividend, string divisor) => body.Node(
            "Where", [body.Node("Less", [divisor, least]), zero, body.Node("Div", [dividend, body.Node("Max", [divisor, least])])]);

        string Largest(string value, params long[] axes) => opset >= ReduceTakesAxesAsInput
            ? body.Node("ReduceMax", [body.Node("Abs", [value]), body.Ints(axes)])
            : body.Node("ReduceMax", [body.Node("Abs", [value])], [new ValueAttribute(OpAttributeValue.Ints("axes", axes))]);
    }

    private static OpAttributeDescription Describe(string name, string summary) => new(name, AttributeKind.Ints, summary, Required: false, FallbackOnly: true);
}
