using System.Numerics.Tensors;
using OrtQuant.GraphRewriter.Quantizers;
using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Planning.Allocation;

/// <summary>The error of a weight stored in different ways, from some of its rows: they are quantized as the rewrite will do it.</summary>
internal sealed class CandidateErrors
{
    // Rows differ little in their relative error: these give it to a few percent.
    private const int MostValues = 1 << 16;
    private const int FewestRows = 64;

    private readonly DenseWeight _rows;
    private readonly float[] _values;
    private readonly IActivationStatistics? _statistics;
    private readonly double _norm;

    /// <summary>Reads the rows.</summary>
    /// <param name="weight">The weight.</param>
    /// <param name="statistics">What is known about its inputs, if anything.</param>
    internal CandidateErrors(IWeightSource weight, IActivationStatistics? statistics)
    {
        _statistics = statistics is { SecondMoments.Length: > 0 } ? statistics : null;
        var k = checked((int)weight.Shape.K);
        var count = (int)Math.Min(weight.Shape.N, Math.Max(FewestRows, MostValues / k));
        _values = new float[count * k];
        for (var i = 0; i < count; i++)
        {
            // Evenly over the whole weight: parts that were joined lie one after the other.
            weight.ReadRows(i * weight.Shape.N / count, 1, _values.AsSpan(i * k, k));
        }

        _rows = new DenseWeight(new WeightShape(count, k), _values);
        _norm = Enumerable.Range(0, count).Sum(row => Weighted(_values.AsSpan(row * k, k)));
    }

    /// <summary>Relative squared error of one way to store it; 0 for a weight that is all zero.</summary>
    /// <exception cref="OrtQuantException">A weight is not finite, or too large for the scheme.</exception>
    internal double Of(IQuantizer algorithm, IWeightScheme scheme, SchemeParameters parameters, QuantizerContext context)
    {
        if (_norm == 0) return 0;
        using var quantized = algorithm.Quantize(_rows, scheme, parameters, context with { Statistics = _statistics });
        var k = (int)_rows.Shape.K;
        var row = new float[k];
        var error = 0.0;
        for (var n = 0; n < _rows.Shape.N; n++)
        {
            quantized.Grid.Dequantize(n, row);
            TensorPrimitives.Subtract(_values.AsSpan(n * k, k), row, row);
            error += Weighted(row);
        }

        return error / _norm;
    }

    /// <summary>Sum of m_k x_k^2.</summary>
    private double Weighted(Span<float> row)
    {
        if (_statistics is null) return TensorPrimitives.SumOfSquares<float>(row);
        var squares = new float[row.Length];
        TensorPrimitives.Multiply(row, row, squares);
        return TensorPrimitives.Dot<float>(squares, _statistics.SecondMoments.Span);
    }
}
