using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Weights;

/// <summary>Consecutive rows (outputs) of a weight: one part of a merged linear.</summary>
public sealed class RowSlice : IWeightSource
{
    private readonly IWeightSource _source;
    private readonly long _first;

    /// <summary>Rows <c>first .. first + count - 1</c>.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The rows are outside the weight.</exception>
    public RowSlice(IWeightSource source, long first, long count)
    {
        if (first < 0 || count < 1 || first > source.Shape.N - count)
        {
            throw new ArgumentOutOfRangeException(nameof(first), $"rows {first} to {first + count - 1} of a weight of shape {source.Shape}");
        }

        _source = source;
        _first = first;
        Shape = source.Shape with { N = count };
    }

    /// <inheritdoc/>
    public WeightShape Shape { get; }

    /// <inheritdoc/>
    public int PreferredRows => _source.PreferredRows;

    /// <inheritdoc/>
    public void ReadRows(long n0, int count, Span<float> rows)
    {
        WeightSource.CheckRead(Shape, n0, count, rows.Length);
        _source.ReadRows(_first + n0, count, rows);
    }
}
