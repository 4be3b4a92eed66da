using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace OrtQuant.GraphRewriter.Quantizers.Gram;

/// <summary>
/// One group of 16 rows: codes, scale and zero point for the least <c>|(v - w') M|^2</c>, M upper triangular. Codes are chosen one after the
/// other, each at the optimum that the errors before it leave (Babai's nearest plane); scale and zero point are then the least squares
/// solution for those codes.
/// </summary>
internal sealed class LocalProblem(int largestGroup)
{
    private readonly float[] _position = new float[Lanes.Count * largestGroup];
    private readonly float[] _outlierImages = new float[Lanes.Count * largestGroup];

    /// <summary>v, <c>[length, 16]</c>.</summary>
    public float[] Targets { get; } = new float[Lanes.Count * largestGroup];

    /// <summary>
    /// Where a position is held by a number of its own all bits, else none, <c>[length, 16]</c>: then w' there is the optimum that the errors before it leave, whatever
    /// its code, and the group is fitted to the others. Null where there are no such positions.
    /// </summary>
    public float[]? Outliers { get; init; }

    /// <summary>w' of the last <see cref="Choose"/>, <c>[length, 16]</c>; only where there can be outliers.</summary>
    public float[] Values { get; } = new float[Lanes.Count * largestGroup];

    /// <summary>v M, <c>[length, 16]</c>, made by <see cref="Prepare"/>.</summary>
    public float[] TargetImages { get; } = new float[Lanes.Count * largestGroup];

    /// <summary>Codes of the last <see cref="Choose"/>, as floats.</summary>
    public float[] Codes { get; } = new float[Lanes.Count * largestGroup];

    /// <summary><c>(v - w') M</c> of the last <see cref="Choose"/>.</summary>
    public float[] Residuals { get; } = new float[Lanes.Count * largestGroup];

    /// <summary>Lowest and highest v of each lane, outliers apart.</summary>
    public float[] Lowest { get; } = new float[Lanes.Count];

    /// <inheritdoc cref="Lowest"/>
    public float[] Highest { get; } = new float[Lanes.Count];

    /// <summary>Reads <see cref="Targets"/>.</summary>
    public void Prepare(in Triangle m)
    {
        ref var v = ref MemoryMarshal.GetArrayDataReference(Targets);
        for (var half = 0; half < Lanes.Count; half += 8)
        {
            var (lowest, highest) = (Vector256.Create(float.PositiveInfinity), Vector256.Create(float.NegativeInfinity));
            for (var j = 0; j < m.Length; j++)
            {
                var at = (nuint)((j * Lanes.Count) + half);
                var value = Vector256.LoadUnsafe(ref v, at);
                if (Outliers is null)
                {
                    lowest = Vector256.Min(lowest, value);
                    highest = Vector256.Max(highest, value);
                    continue;
                }

                var isOutlier = Vector256.LoadUnsafe(ref MemoryMarshal.GetArrayDataReference(Outliers), at);
                lowest = Vector256.Min(lowest, Vector256.ConditionalSelect(isOutlier, lowest, value));
                highest = Vector256.Max(highest, Vector256.ConditionalSelect(isOutlier, highest, value));
            }

            lowest.CopyTo(Lowest, half);
            highest.CopyTo(Highest, half);
        }

        var images = TargetImages.AsSpan(0, m.Length * Lanes.Count);
        images.Clear();
        for (var i = 0; i < m.Length; i++)
        {
            Lanes.AddProduct(images[(i * Lanes.Count)..], Targets.AsSpan(i * Lanes.Count, Lanes.Count), m.Values, m.Stride, m.Row + i, m.Column + i);
        }
    }

    /// <summary>Chooses codes for given scales and zero points, and answers with the errors of the lanes.</summary>
    public void Choose(in Triangle m, ReadOnlySpan<float> scales, ReadOnlySpan<float> zeroPoints, int maxCode, Span<float> errors)
    {
        var length = m.Length;
        ref var v = ref MemoryMarshal.GetArrayDataReference(Targets);
        ref var p = ref MemoryMarshal.GetArrayDataReference(_position);
        ref var q = ref MemoryMarshal.GetArrayDataReference(Codes);
        ref var r = ref MemoryMarshal.GetArrayDataReference(Residuals);
        ref var matrix = ref Unsafe.Add(ref MemoryMarshal.GetArrayDataReference(m.Values), (m.Row * m.Stride) + m.Column);
        var (s0, s1) = (Vector256.Create<float>(scales[..8]), Vector256.Create<float>(scales[8..16]));
        var (z0, z1) = (Vector256.Create<float>(zeroPoints[..8]), Vector256.Create<float>(zeroPoints[8..16]));
        var (i0, i1) = (Inverse(s0), Inverse(s1));
        var (e0, e1) = (Vector256<float>.Zero, Vector256<float>.Zero);
        var most = Vector256.Create((float)maxCode);
        _position.AsSpan(0, length * Lanes.Count).Clear();
        if (Outliers is not null) _outlierImages.AsSpan(0, length * Lanes.Count).Clear();
        for (var j = 0; j < length; j++)
        {
            ref var row = ref Unsafe.Add(ref matrix, j * m.Stride);
            var pivot = Unsafe.Add(ref row, j);
            var inverse = 1f / pivot;
            var at = (nuint)(j * Lanes.Count);
            var (p0, p1) = (Vector256.LoadUnsafe(ref p, at), Vector256.LoadUnsafe(ref p, at + 8));
            var (v0, v1) = (Vector256.LoadUnsafe(ref v, at), Vector256.LoadUnsafe(ref v, at + 8));
            var q0 = Round(((v0 + (p0 * inverse)) * i0) + z0, most);
            var q1 = Round(((v1 + (p1 * inverse)) * i1) + z1, most);
            q0.StoreUnsafe(ref q, at);
            q1.StoreUnsafe(ref q, at + 8);
            var (f0, f1) = (v0 - (s0 * (q0 - z0)), v1 - (s1 * (q1 - z1)));
            if (Outliers is not null)
            {
                TakeOut(m, j, -p0 * inverse, -p1 * inverse, ref f0, ref f1);
                (v0 - f0).StoreUnsafe(ref MemoryMarshal.GetArrayDataReference(Values), at);
                (v1 - f1).StoreUnsafe(ref MemoryMarshal.GetArrayDataReference(Values), at + 8);
            }

            var (r0, r1) = (Vector256.FusedMultiplyAdd(f0, Vector256.Create(pivot), p0), Vector256.FusedMultiplyAdd(f1, Vector256.Create(pivot), p1));
            r0.StoreUnsafe(ref r, at);
            r1.StoreUnsafe(ref r, at + 8);
            e0 = Vector256.FusedMultiplyAdd(r0, r0, e0);
            e1 = Vector256.FusedMultiplyAdd(r1, r1, e1);
            for (var later = j + 1; later < length; later++)
            {
                var factor = Vector256.Create(Unsafe.Add(ref row, later));
                var to = (nuint)(later * Lanes.Count);
                Vector256.FusedMultiplyAdd(factor, f0, Vector256.LoadUnsafe(ref p, to)).StoreUnsafe(ref p, to);
                Vector256.FusedMultiplyAdd(factor, f1, Vector256.LoadUnsafe(ref p, to + 8)).StoreUnsafe(ref p, to + 8);
            }
        }

        e0.CopyTo(errors);
        e1.CopyTo(errors[8..]);
    }

    /// <summary>
    /// Least squares over scale and zero point for the codes of the last <see cref="Choose"/>; lanes without a solution keep what they have.
    /// With <paramref name="fixedZero"/> over the scale alone.
    /// </summary>
    public void Refit(in Triangle m, ReadOnlySpan<float> ones, Span<float> scales, Span<float> zeroPoints, bool fixedZero)
    {
        // a = q M, b = 1 M, c = v M; the residual is c - s (a - z b).
        ref var residuals = ref MemoryMarshal.GetArrayDataReference(Residuals);
        ref var images = ref MemoryMarshal.GetArrayDataReference(TargetImages);
        for (var half = 0; half < Lanes.Count; half += 8)
        {
            var s = Vector256.Create<float>(scales[half..(half + 8)]);
            var z = Vector256.Create<float>(zeroPoints[half..(half + 8)]);
            var inverse = Inverse(s);
            var (aa, ab, ac, bc) = (Vector256<float>.Zero, Vector256<float>.Zero, Vector256<float>.Zero, Vector256<float>.Zero);
            var bb = 0f;
            for (var j = 0; j < m.Length; j++)
            {
                var at = (nuint)((j * Lanes.Count) + half);
                var c = Vector256.LoadUnsafe(ref images, at);
                if (Outliers is not null) c -= Vector256.LoadUnsafe(ref MemoryMarshal.GetArrayDataReference(_outlierImages), at);
                var u = (c - Vector256.LoadUnsafe(ref residuals, at)) * inverse;
                var b = Vector256.Create(ones[j]);

                // With u = a - z b; relative to the present zero point, where it is small, to spare digits.
                aa = Vector256.FusedMultiplyAdd(u, u, aa);
                ab = Vector256.FusedMultiplyAdd(u, b, ab);
                ac = Vector256.FusedMultiplyAdd(u, c, ac);
                bc = Vector256.FusedMultiplyAdd(b, c, bc);
                bb += ones[j] * ones[j];
            }

            for (var lane = 0; lane < 8; lane++)
            {
                var (scale, shift) = (ac[lane] / aa[lane], 0f);
                if (!fixedZero)
                {
                    var determinant = ((double)aa[lane] * bb) - ((double)ab[lane] * ab[lane]);
                    var slope = (((double)ac[lane] * bb) - ((double)bc[lane] * ab[lane])) / determinant;
                    var offset = (((double)bc[lane] * aa[lane]) - ((double)ac[lane] * ab[lane])) / determinant;
                    if (determinant > 1e-6 * aa[lane] * bb && slope != 0) (scale, shift) = ((float)slope, (float)(-offset / slope));
                }

                if (!float.IsFinite(scale) || !float.IsFinite(shift) || Math.Abs(scale) > 60000f || scale == 0 || Math.Abs(z[lane] + shift) > 60000f) continue;
                scales[half + lane] = scale;
                zeroPoints[half + lane] = z[lane] + shift;
            }
        }
    }

    /// <summary>For values that were not chosen by <see cref="Choose"/>: what outliers add to their codes stays as it is in <see cref="Refit"/>.</summary>
    public void KeepOutliers(in Triangle m, ReadOnlySpan<float> values, ReadOnlySpan<float> codes, ReadOnlySpan<float> scales, ReadOnlySpan<float> zeroPoints)
    {
        if (Outliers is null) return;
        _outlierImages.AsSpan(0, m.Length * Lanes.Count).Clear();
        Span<float> added = stackalloc float[Lanes.Count];
        for (var j = 0; j < m.Length; j++)
        {
            var any = false;
            for (var lane = 0; lane < Lanes.Count; lane++)
            {
                var at = (j * Lanes.Count) + lane;
                added[lane] = BitConverter.SingleToInt32Bits(Outliers[at]) == 0 ? 0 : values[at] - (scales[lane] * (codes[at] - zeroPoints[lane]));
                any |= added[lane] != 0;
            }

            if (any) Lanes.AddProduct(_outlierImages.AsSpan(j * Lanes.Count, (m.Length - j) * Lanes.Count), added, m.Values, m.Stride, m.Row + j, m.Column + j);
        }
    }

    // Errors of outliers at position j: those that leave no residual. What they add to their codes is kept for Refit.
    private void TakeOut(in Triangle m, int j, Vector256<float> exact0, Vector256<float> exact1, ref Vector256<float> f0, ref Vector256<float> f1)
    {
        ref var outliers = ref MemoryMarshal.GetArrayDataReference(Outliers!);
        var (o0, o1) = (Vector256.LoadUnsafe(ref outliers, (nuint)(j * Lanes.Count)), Vector256.LoadUnsafe(ref outliers, (nuint)(j * Lanes.Count) + 8));
        if (Vector256.EqualsAll((o0 | o1).AsInt32(), Vector256<int>.Zero)) return;
        Span<float> added = stackalloc float[Lanes.Count];
        ((f0 - exact0) & o0).CopyTo(added);
        ((f1 - exact1) & o1).CopyTo(added[8..]);
        Lanes.AddProduct(_outlierImages.AsSpan(j * Lanes.Count, (m.Length - j) * Lanes.Count), added, m.Values, m.Stride, m.Row + j, m.Column + j);
        (f0, f1) = (Vector256.ConditionalSelect(o0, exact0, f0), Vector256.ConditionalSelect(o1, exact1, f1));
    }

    private static Vector256<float> Inverse(Vector256<float> scales) =>
        Vector256.ConditionalSelect(Vector256.Equals(scales, Vector256<float>.Zero), Vector256<float>.Zero, Vector256<float>.One / scales);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Round(Vector256<float> position, Vector256<float> most) =>
        Vector256.Round(Vector256.Min(Vector256.Max(position, Vector256<float>.Zero), most));
}

/// <summary>An upper triangular block of a larger row-major matrix.</summary>
internal readonly record struct Triangle(float[] Values, int Stride, int Row, int Column, int Length);
