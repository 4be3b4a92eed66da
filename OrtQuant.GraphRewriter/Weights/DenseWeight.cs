using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Weights;

/// <summary>A weight in memory, <c>[N, K]</c>, row-major.</summary>
public sealed class DenseWeight : IWeightSource
{
    private readonly ReadOnlyMemory<float> _values;

    /// <summary>A view of the values; they are not copied.</summary>
    /// <exception cref="ArgumentException">The number of values is not <c>N * K</c>.</exception>
    public DenseWeight(WeightShape shape, ReadOnlyMemory<float> values)
    {
        if (values.Length != shape.Count)
        {
            throw new ArgumentException($"length is {values.Length}; a weight of shape {shape} has {shape.Count}", nameof(values));
        }

        Shape = shape;
        _values = values;
    }

    /// <inheritdoc/>
    public WeightShape Shape { get; }

    /// <inheritdoc/>
    public void ReadRows(long n0, int count, Span<float> rows)
    {
        WeightSource.CheckRead(Shape, n0, count, rows.Length);
        _values.Span.Slice((int)(n0 * Shape.K), rows.Length).CopyTo(rows);
    }
}
