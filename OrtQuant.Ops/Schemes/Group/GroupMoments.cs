using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace OrtQuant.Schemes.Group;

/// <summary>
/// Weighted sums over one group for the codes q that a candidate scale and zero point lead to: what least squares needs, and the error of
/// the candidate itself. h are the weights of the squared errors, v the values.
/// </summary>
internal readonly struct GroupMoments
{
    private readonly double _h;
    private readonly double _hq;
    private readonly double _hqq;
    private readonly double _hv;
    private readonly double _hvq;

    private GroupMoments(double error, double h, double hq, double hqq, double hv, double hvq)
    {
        Error = error;
        _h = h;
        _hq = hq;
        _hqq = hqq;
        _hv = hv;
        _hvq = hvq;
    }

    /// <summary><c>sum h (v - scale * (q - zero point))^2</c> of the candidate.</summary>
    public double Error { get; }

    /// <summary>The zero point where the regression line of v over q crosses zero; null if all codes are the same or the line is flat.</summary>
    public double? FreeZeroPoint()
    {
        var spread = (_h * _hqq) - (_hq * _hq);
        var slope = (_h * _hvq) - (_hv * _hq);
        if (spread <= 0 || slope == 0)
        {
            return null;
        }

        // v = a q + b with a = slope / spread, b = (hv - a hq) / h; zero at q = -b / a.
        return ((_hq * slope) - (_hv * spread)) / (_h * slope);
    }

    /// <summary>The zero point of least error for these codes and a scale; null if nothing weighs anything.</summary>
    public double? ZeroPoint(double scale) => _h > 0 ? (_hq - (_hv / scale)) / _h : null;

    /// <summary>The scale of least error for these codes and a zero point; 0 if every code is the zero point.</summary>
    public double Scale(double zeroPoint)
    {
        var denominator = _hqq - (2 * zeroPoint * _hq) + (zeroPoint * zeroPoint * _h);
        return denominator > 0 ? (_hvq - (zeroPoint * _hv)) / denominator : 0;
    }

    /// <summary>One pass over a group.</summary>
    /// <param name="values">The values v.</param>
    /// <param name="importance">The weights h, as many.</param>
    /// <param name="candidate">Scale (not 0) and zero point.</param>
    /// <param name="maxCode">Largest code.</param>
    public static GroupMoments Of(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, (float Scale, float ZeroPoint) candidate, int maxCode)
    {
        var sums = new Sums();
        ref var v = ref MemoryMarshal.GetReference(values);
        ref var h = ref MemoryMarshal.GetReference(importance[..values.Length]);
        var i = 0;
        for (; i + 8 <= values.Length; i += 8)
        {
            sums.Add(Vector256.LoadUnsafe(ref v, (nuint)i), Vector256.LoadUnsafe(ref h, (nuint)i), candidate, maxCode);
        }

        if (i < values.Length)
        {
            // The weight of a lane past the end is 0, so its value does not matter.
            Span<float> tail = stackalloc float[16];
            values[i..].CopyTo(tail);
            importance[i..values.Length].CopyTo(tail[8..]);
            sums.Add(Vector256.Create<float>(tail[..8]), Vector256.Create<float>(tail[8..]), candidate, maxCode);
        }

        return sums.Total();
    }

    private struct Sums
    {
        private Vector256<float> _error;
        private Vector256<float> _h;
        private Vector256<float> _hq;
        private Vector256<float> _hqq;
        private Vector256<float> _hv;
        private Vector256<float> _hvq;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Add(Vector256<float> v, Vector256<float> h, (float Scale, float ZeroPoint) candidate, int maxCode)
        {
            var position = (v * (1f / candidate.Scale)) + Vector256.Create(candidate.ZeroPoint);
            position = Vector256.Min(Vector256.Max(position, Vector256<float>.Zero), Vector256.Create((float)maxCode));
            var q = Vector256.Round(position);
            var difference = v - (candidate.Scale * (q - Vector256.Create(candidate.ZeroPoint)));
            var hq = h * q;
            _error += h * difference * difference;
            _h += h;
            _hq += hq;
            _hqq += hq * q;
            _hv += h * v;
            _hvq += hq * v;
        }

        public readonly GroupMoments Total() =>
            new(Total(_error), Total(_h), Total(_hq), Total(_hqq), Total(_hv), Total(_hvq));

        private static double Total(Vector256<float> lanes)
        {
            var (lower, upper) = Vector256.Widen(lanes);
            return Vector256.Sum(lower + upper);
        }
    }
}
