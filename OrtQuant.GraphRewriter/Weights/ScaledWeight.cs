using System.Numerics.Tensors;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Weights;

/// <summary>A weight times a factor, a factor for each row (output), a factor for each column (input), or any of them together.</summary>
public sealed class ScaledWeight : IWeightSource
{
    private readonly IWeightSource _source;
    private readonly float _factor;
    private readonly ReadOnlyMemory<float> _rowFactors;
    private readonly ReadOnlyMemory<float> _columnFactors;

    /// <summary>Scales by one factor.</summary>
    public ScaledWeight(IWeightSource source, float factor)
    {
        _source = source;
        _factor = factor;
    }

    /// <summary>Scales by <c>rowFactors[n] * columnFactors[k]</c>; an empty span of factors means ones.</summary>
    /// <param name="source">The weight.</param>
    /// <param name="rowFactors">Empty, or N factors.</param>
    /// <param name="columnFactors">Empty, or K factors.</param>
    /// <exception cref="ArgumentException">The number of factors is another.</exception>
    public ScaledWeight(IWeightSource source, ReadOnlyMemory<float> rowFactors, ReadOnlyMemory<float> columnFactors)
    {
        CheckLength(rowFactors.Length, source.Shape.N, nameof(rowFactors));
        CheckLength(columnFactors.Length, source.Shape.K, nameof(columnFactors));
        _source = source;
        _factor = 1;
        _rowFactors = rowFactors;
        _columnFactors = columnFactors;
    }

    /// <inheritdoc/>
    public WeightShape Shape => _source.Shape;

    /// <inheritdoc/>
    public int PreferredRows => _source.PreferredRows;

    /// <inheritdoc/>
    public void ReadRows(long n0, int count, Span<float> rows)
    {
        _source.ReadRows(n0, count, rows);
        if (_factor != 1)
        {
            TensorPrimitives.Multiply(rows, _factor, rows);
        }

        var k = (int)Shape.K;
        for (var i = 0; i < count && (!_rowFactors.IsEmpty || !_columnFactors.IsEmpty); i++)
        {
            var row = rows.Slice(i * k, k);
            if (!_columnFactors.IsEmpty)
            {
                TensorPrimitives.Multiply(row, _columnFactors.Span, row);
            }

            if (!_rowFactors.IsEmpty)
            {
                TensorPrimitives.Multiply(row, _rowFactors.Span[(int)n0 + i], row);
            }
        }
    }

    private static void CheckLength(int actual, long required, string name)
    {
        if (actual != 0 && actual != required)
        {
            throw new ArgumentException($"length is {actual}; it must be 0 or {required}", name);
        }
    }
}
