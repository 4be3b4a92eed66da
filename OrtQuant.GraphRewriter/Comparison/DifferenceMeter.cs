using System.Numerics.Tensors;

namespace OrtQuant.GraphRewriter.Comparison;

/// <summary>Accumulates how far numbers are from reference numbers.</summary>
public sealed class DifferenceMeter
{
    // Sums of float32 stay exact enough over this many terms; the pieces are added in double precision.
    private const int Piece = 512;

    private double _differenceSquares;
    private double _referenceSquares;
    private double _otherSquares;
    private double _dot;
    private double _maxAbs;

    /// <summary>Largest absolute difference.</summary>
    public double MaxAbs => _maxAbs;

    /// <summary>|other - reference| / |reference|, Euclidean norms; infinite when only the reference is zero.</summary>
    public double RelativeL2 =>
        _differenceSquares == 0 ? 0 : _referenceSquares == 0 ? double.PositiveInfinity : Math.Sqrt(_differenceSquares / _referenceSquares);

    /// <summary>Cosine of the angle between both; 1 when both are zero.</summary>
    public double Cosine =>
        _referenceSquares == 0 && _otherSquares == 0 ? 1 : _dot / Math.Sqrt(Math.Max(_referenceSquares * _otherSquares, double.Epsilon));

    /// <summary>Takes in numbers and their references.</summary>
    /// <param name="reference">What they should be.</param>
    /// <param name="other">As many numbers.</param>
    public void Add(ReadOnlySpan<float> reference, ReadOnlySpan<float> other)
    {
        Span<float> difference = stackalloc float[Piece];
        for (var offset = 0; offset < reference.Length; offset += Piece)
        {
            var count = Math.Min(Piece, reference.Length - offset);
            var r = reference.Slice(offset, count);
            var o = other.Slice(offset, count);
            var d = difference[..count];
            TensorPrimitives.Subtract(o, r, d);
            _differenceSquares += TensorPrimitives.SumOfSquares<float>(d);
            _referenceSquares += TensorPrimitives.SumOfSquares(r);
            _otherSquares += TensorPrimitives.SumOfSquares(o);
            _dot += TensorPrimitives.Dot(r, o);
            // Math.Max passes NaN on, so that one in either input stays visible.
            _maxAbs = Math.Max(_maxAbs, Math.Abs((double)TensorPrimitives.MaxMagnitude<float>(d)));
        }
    }

    /// <summary>Takes in what another meter has seen.</summary>
    public void Add(DifferenceMeter part)
    {
        _differenceSquares += part._differenceSquares;
        _referenceSquares += part._referenceSquares;
        _otherSquares += part._otherSquares;
        _dot += part._dot;
        _maxAbs = Math.Max(_maxAbs, part._maxAbs);
    }
}
