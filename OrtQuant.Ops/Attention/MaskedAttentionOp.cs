using OrtQuant.Descriptions;

namespace OrtQuant.Attention;

/// <summary>
/// <c>ortquant::MaskedAttention</c>: grouped-query attention with rotary embedding over a growing cache, under the mask and with the angles that the
/// graph computes itself. <c>docs/ops/masked-attention.md</c> is its contract.
/// </summary>
public static class MaskedAttentionOp
{
    private static readonly ElementType[] Floats = [ElementType.Float32, ElementType.Float16];

    /// <summary>The contract.</summary>
    public static OpDescription Description { get; } = new(
        Domain: "ortquant",
        Name: "MaskedAttention",
        SinceVersion: 1,
        Summary: "Y = softmax(scale * turn(query) . present_key^T + mask) . present_value with present = concat(past, turn(key)), concat(past, value)",
        Inputs:
        [
            new("query", TensorRole.Activation, Floats, "[B, S, num_heads * D]"),
            new("key", TensorRole.Activation, Floats, "[B, S, kv_num_heads * D]"),
            new("value", TensorRole.Activation, Floats, "[B, S, kv_num_heads * D]"),
            new("past_key", TensorRole.Cache, Floats, "[B, kv_num_heads, P, D]"),
            new("past_value", TensorRole.Cache, Floats, "[B, kv_num_heads, P, D]"),
            new("mask", TensorRole.Mask, [ElementType.Bool, .. Floats], "[B or 1, num_heads or 1, S or 1, P + S or 1]"),
            new("cos", TensorRole.Activation, Floats, "[B or 1, 1, S or 1, R]", Optional: true),
            new("sin", TensorRole.Activation, Floats, "[B or 1, 1, S or 1, R]", Optional: true),
        ],
        Outputs:
        [
            new("Y", Floats, "[B, S, num_heads * D]"),
            new("present_key", Floats, "[B, kv_num_heads, P + S, D]"),
            new("present_value", Floats, "[B, kv_num_heads, P + S, D]"),
        ],
        Attributes:
        [
            new("num_heads", AttributeKind.Int, "Heads of the query."),
            new("kv_num_heads", AttributeKind.Int, "Heads of key, value and cache; num_heads is a multiple of it."),
            new("scale", AttributeKind.Float, "What scores are multiplied by."),
            .. MaskedAttentionFallback.Attributes,
        ],
        Fallback: MaskedAttentionFallback.Body,
        MinimumFallbackOpset: MaskedAttentionFallback.MinimumOpset);

    /// <summary>The attributes of a node, those of its fallback included.</summary>
    /// <param name="heads">Heads of the query.</param>
    /// <param name="cachedHeads">Heads of key, value and cache.</param>
    /// <param name="headSize">Numbers of a head.</param>
    /// <param name="rotary">Numbers of a head that turn; 0 for none.</param>
    /// <param name="scale">What scores are multiplied by.</param>
    public static IReadOnlyList<OpAttributeValue> NodeAttributes(long heads, long cachedHeads, long headSize, long rotary, float scale) =>
    [
        OpAttributeValue.Int("num_heads", heads),
        OpAttributeValue.Int("kv_num_heads", cachedHeads),
        OpAttributeValue.Float("scale", scale),
        .. MaskedAttentionFallback.Values(heads, cachedHeads, headSize, rotary),
    ];
}
