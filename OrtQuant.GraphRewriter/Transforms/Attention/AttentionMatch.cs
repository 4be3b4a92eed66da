using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Transforms.Attention;

/// <summary>The attention of one layer, as it was found among the nodes of an export.</summary>
/// <param name="Softmax">The node it was found by.</param>
/// <param name="Query">[batch, tokens, heads * size], before it is cut into heads.</param>
/// <param name="Key">[batch, tokens, cached heads * size].</param>
/// <param name="Value">As <paramref name="Key"/>.</param>
/// <param name="PastKey">[batch, cached heads, past, size].</param>
/// <param name="PastValue">As <paramref name="PastKey"/>.</param>
/// <param name="PresentKey">Past and new keys.</param>
/// <param name="PresentValue">Past and new values.</param>
/// <param name="Mask">True where a token may attend, or what is added to the scores.</param>
/// <param name="Cos">Cosines, [batch or 1, 1, tokens, rotary]; null without rotary embedding.</param>
/// <param name="Sin">Sines.</param>
/// <param name="Output">[batch, tokens, heads * size].</param>
/// <param name="Heads">Heads of the query.</param>
/// <param name="CachedHeads">Heads of the cache.</param>
/// <param name="HeadSize">Numbers of a head.</param>
/// <param name="RotarySize">Numbers of a head that turn; 0 for none.</param>
/// <param name="Scale">What scores are multiplied by.</param>
internal sealed record AttentionMatch(
    OnnxNode Softmax,
    OnnxValue Query,
    OnnxValue Key,
    OnnxValue Value,
    OnnxValue PastKey,
    OnnxValue PastValue,
    OnnxValue PresentKey,
    OnnxValue PresentValue,
    OnnxValue Mask,
    OnnxValue? Cos,
    OnnxValue? Sin,
    OnnxValue Output,
    long Heads,
    long CachedHeads,
    long HeadSize,
    long RotarySize,
    float Scale)
{
    /// <summary>What the operator that stands for it reads.</summary>
    internal IEnumerable<OnnxValue> Inputs => new[] { Query, Key, Value, PastKey, PastValue, Mask, Cos, Sin }.OfType<OnnxValue>();
}

/// <summary>Why a softmax is no attention that can become one operator.</summary>
internal sealed class NoAttentionException(string reason) : Exception(reason);
