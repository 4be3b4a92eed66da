using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Transforms.Attention;

/// <summary>A rotary embedding, <c>x * cos + concat(-x[half:], x[:half]) * sin</c>, of all or the first numbers of each head.</summary>
/// <param name="Input">[batch, heads, tokens, size].</param>
/// <param name="Cos">As the multiplication reads it.</param>
/// <param name="Sin">As the multiplication reads it.</param>
/// <param name="Half">Half of how many numbers of a head turn.</param>
/// <param name="IsPartial">The rest of a head is left as it is.</param>
internal sealed record RotaryMatch(OnnxValue Input, OnnxValue Cos, OnnxValue Sin, long Half, bool IsPartial)
{
    /// <summary>Null where there is none.</summary>
    internal static RotaryMatch? Find(OnnxValue value)
    {
        var x = AttentionMatcher.Plain(value);
        if (x.Producer is not { OpType: "Concat", Domain.Length: 0, Inputs: [{ } turned, { } rest] } concat || concat.GetInt("axis", 0) is not (-1 or 3)) return Turned(x);
        return Turned(AttentionMatcher.Plain(turned)) is { } part
            && Part(part.Input) is { } first && first.Begin == 0 && first.End == part.Half * 2
            && Part(AttentionMatcher.Plain(rest)) is { } second && second.Begin == first.End && second.End == long.MaxValue && second.Of == first.Of
            ? part with { Input = first.Of, IsPartial = true }
            : null;
    }

    private static RotaryMatch? Turned(OnnxValue value)
    {
        if (value.Producer is not { OpType: "Add", Domain.Length: 0, Inputs: [{ } a, { } b] }) return null;
        return Sum(a, b) ?? Sum(b, a);
    }

    private static RotaryMatch? Sum(OnnxValue straight, OnnxValue crossed)
    {
        if (Product(crossed) is not { } sines || Product(straight) is not { } cosines) return null;
        foreach (var (swapped, sin) in new[] { sines, (sines.B, sines.A) })
        {
            if (Swapped(AttentionMatcher.Plain(swapped)) is not { } half) continue;
            foreach (var (x, cos) in new[] { cosines, (cosines.B, cosines.A) })
            {
                if (AttentionMatcher.Plain(x) == half.Of) return new RotaryMatch(half.Of, cos, sin, half.Size, IsPartial: false);
            }
        }

        return null;
    }

    private static (OnnxValue A, OnnxValue B)? Product(OnnxValue value) =>
        AttentionMatcher.Plain(value).Producer is { OpType: "Mul", Domain.Length: 0, Inputs: [{ } a, { } b] } ? (a, b) : null;

    /// <summary>concat(-x[half:], x[:half])</summary>
    private static (OnnxValue Of, long Size)? Swapped(OnnxValue value)
    {
        if (value.Producer is not { OpType: "Concat", Domain.Length: 0, Inputs: [{ } first, { } second] } concat || concat.GetInt("axis", 0) is not (-1 or 3)) return null;
        if (AttentionMatcher.Plain(first).Producer is not { OpType: "Neg", Domain.Length: 0 } neg) return null;
        if (Part(AttentionMatcher.Plain(neg.Inputs[0])) is not { } upper || Part(AttentionMatcher.Plain(second)) is not { } lower) return null;
        return upper.Of == lower.Of && lower.Begin == 0 && lower.End == upper.Begin && (upper.End == long.MaxValue || upper.End == 2 * upper.Begin)
            ? (upper.Of, upper.Begin)
            : null;
    }

    /// <summary>A Slice along the last axis; its end is the largest number where it goes to the end.</summary>
    private static (OnnxValue Of, long Begin, long End)? Part(OnnxValue value)
    {
        if (value.Producer is not { OpType: "Slice", Domain.Length: 0, Inputs: [{ } of, { } begin, { } end, { } axis, ..] } slice) return null;
        if (slice.Inputs.ElementAtOrDefault(4) is { } step && One(step) is not 1) return null;
        return One(axis) is -1 or 3 && One(begin) is >= 0 and var from && One(end) is > 0 and var to
            ? (AttentionMatcher.Plain(of), from, to >= int.MaxValue ? long.MaxValue : to)
            : null;
    }

    private static long? One(OnnxValue value) => value.Constant is { Count: 1 } tensor ? tensor.ReadInt64s()[0] : null;
}
