using OrtQuant.Descriptions;

namespace OrtQuant.Attention;

/// <summary>The body of <c>ortquant::MaskedAttention</c> in standard operators: what exporters write for a layer.</summary>
internal static class MaskedAttentionFallback
{
    /// <summary>Lowest version of the default domain: the first with CastLike, by which one body serves every type.</summary>
    public const int MinimumOpset = 15;

    private const string SplitHeads = "fallback_split_heads";
    private const string RotarySplit = "fallback_rotary_split";
    private const string Repeat = "fallback_repeat";
    private const string RepeatedHeads = "fallback_repeated_heads";

    public static IReadOnlyList<OpAttributeDescription> Attributes { get; } =
    [
        Describe(SplitHeads, "Shape of activations by heads, [0, 0, -1, D]."),
        Describe(RotarySplit, "Parts of a head: [R / 2, R / 2, D - R]."),
        Describe(Repeat, "How often each cached head is read, [1, 1, num_heads / kv_num_heads, 1, 1]."),
        Describe(RepeatedHeads, "Shape of the cache for every head, [0, num_heads, -1, D]."),
    ];

    public static IReadOnlyList<OpAttributeValue> Values(long heads, long cachedHeads, long headSize, long rotary)
    {
        var values = new List<OpAttributeValue>
        {
            OpAttributeValue.Ints(SplitHeads, 0, 0, -1, headSize),
            OpAttributeValue.Ints(Repeat, 1, 1, heads / cachedHeads, 1, 1),
            OpAttributeValue.Ints(RepeatedHeads, 0, heads, -1, headSize),
        };
        if (rotary > 0) values.Add(OpAttributeValue.Ints(RotarySplit, rotary / 2, rotary / 2, headSize - rotary));
        return values;
    }

    /// <summary>The body for one node; null where the model's opset has none, or the type of the mask is not known.</summary>
    public static FunctionBody? Body(FallbackCall call)
    {
        if (call.Opset < MinimumOpset || call.Input(5) is not (ElementType.Bool or ElementType.Float32 or ElementType.Float16)) return null;
        var isBoolean = call.Input(5) == ElementType.Bool;
        var isRotary = call.Input(6) is not null;
        var body = new FunctionBodyBuilder();

        var query = Heads(body, "query", isRotary);
        body.Node("Concat", ["past_key", CastLike(body, Heads(body, "key", isRotary), "past_key")], [Axis(2)], output: "present_key");
        body.Node("Concat", ["past_value", CastLike(body, Heads(body, "value", isRotary: false), "past_value")], [Axis(2)], output: "present_value");
        var scale = body.Node("Constant", [], [body.Reference("value_float", "scale", AttributeKind.Float)]);
        var keys = body.Transpose(Repeated(body, "present_key"), 0, 1, 3, 2);
        var probabilities = Probabilities(body, body.Node("MatMul", [body.Node("Mul", [query, scale]), keys]), isBoolean);
        var mixed = body.Transpose(body.Node("MatMul", [probabilities, Repeated(body, "present_value")]), 0, 2, 1, 3);
        var joined = body.Reshape(mixed, body.Ints(0, 0, -1));
        body.Node("CastLike", [joined, "query"], output: "Y");

        var variant = $"{(isBoolean ? "boolean" : "additive")}{(isRotary ? "_rotary" : "")}";
        string[] inputs = ["query", "key", "value", "past_key", "past_value", "mask", .. isRotary ? new[] { "cos", "sin" } : []];
        return body.Build(variant, inputs, ["Y", "present_key", "present_value"]);
    }

    /// <summary>[B, S, heads * D] -> [B, heads, S, D] as float32, turned.</summary>
    private static string Heads(FunctionBodyBuilder body, string input, bool isRotary)
    {
        var x = body.Transpose(body.Reshape(body.Cast(input, ElementType.Float32), body.IntsAttribute(SplitHeads)), 0, 2, 1, 3);
        if (!isRotary) return x;
        var parts = body.Split(x, body.IntsAttribute(RotarySplit), 3, 3);
        var turned = body.Node("Concat", [body.Node("Neg", [parts[1]]), parts[0]], [Axis(3)]);
        var kept = body.Node("Concat", [parts[0], parts[1]], [Axis(3)]);
        var sum = body.Node("Add",
        [
            body.Node("Mul", [kept, body.Cast("cos", ElementType.Float32)]),
            body.Node("Mul", [turned, body.Cast("sin", ElementType.Float32)]),
        ]);
        return body.Node("Concat", [sum, parts[2]], [Axis(3)]);
    }

    private static string Repeated(FunctionBodyBuilder body, string cache)
    {
        var repeated = body.Node("Expand", [body.Unsqueeze(body.Cast(cache, ElementType.Float32), 2), body.IntsAttribute(Repeat)]);
        return body.Reshape(repeated, body.IntsAttribute(RepeatedHeads));
    }

    private static string Probabilities(FunctionBodyBuilder body, string scores, bool isBoolean)
    {
        if (!isBoolean) return body.Node("Softmax", [body.Node("Add", [scores, body.Cast("mask", ElementType.Float32)])], [Axis(-1)]);
        var masked = body.Node("Where", ["mask", scores, body.Float(float.NegativeInfinity)]);
        var probabilities = body.Node("Softmax", [masked], [Axis(-1)]);
        return body.Node("Where", [body.Node("IsNaN", [probabilities]), body.Float(0), probabilities]);
    }

    private static ValueAttribute Axis(long axis) => new(OpAttributeValue.Int("axis", axis));

    private static string CastLike(FunctionBodyBuilder body, string value, string like) => body.Node("CastLike", [value, like]);

    private static OpAttributeDescription Describe(string name, string summary) =>
        new(name, AttributeKind.Ints, summary, Required: false, FallbackOnly: true);
}
