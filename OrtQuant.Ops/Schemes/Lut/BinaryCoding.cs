namespace OrtQuant.Schemes.Lut;

/// <summary>The levels of one group of binary-coded weights, <c>z + sum alpha_i * (2 c_i - 1)</c>, and rounding to them.</summary>
internal static class BinaryCoding
{
    /// <summary>What each code stands for, each operation rounded once to float in the order that SPEC.md gives.</summary>
    /// <param name="alphas">Coefficients of the planes.</param>
    /// <param name="offset">z.</param>
    /// <param name="levels">Room for <c>2^planes</c> values; level of code q at q.</param>
    public static void Levels(ReadOnlySpan<float> alphas, float offset, Span<float> levels)
    {
        for (var code = 0; code < 1 << alphas.Length; code++)
        {
            var level = offset;
            for (var i = 0; i < alphas.Length; i++) level = (code >> i & 1) != 0 ? level + alphas[i] : level - alphas[i];
            levels[code] = level;
        }
    }

    /// <summary>Picks the nearest levels, the lower one of two equally near; false if a value is not finite.</summary>
    public static bool Round(ReadOnlySpan<float> values, ReadOnlySpan<float> alphas, float offset, Span<byte> codes)
    {
        var count = 1 << alphas.Length;
        Span<float> levels = stackalloc float[count];
        Span<byte> order = stackalloc byte[count];
        Levels(alphas, offset, levels);
        for (var code = 0; code < count; code++) order[code] = (byte)code;
        levels.Sort(order);

        // The middles between neighbours, padded to 16 so that four comparisons find the place.
        Span<float> middles = stackalloc float[16];
        middles.Fill(float.PositiveInfinity);
        for (var i = 0; i + 1 < count; i++) middles[i] = (levels[i] * 0.5f) + (levels[i + 1] * 0.5f);
        var finite = true;
        for (var i = 0; i < values.Length; i++)
        {
            var value = values[i];
            finite &= float.IsFinite(value);
            var rank = value > middles[7] ? 8 : 0;
            rank += value > middles[rank + 3] ? 4 : 0;
            rank += value > middles[rank + 1] ? 2 : 0;
            rank += value > middles[rank] ? 1 : 0;
            codes[i] = order[Math.Min(rank, count - 1)];
        }

        return finite;
    }
}
