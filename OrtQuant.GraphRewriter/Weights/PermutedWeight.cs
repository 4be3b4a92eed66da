using System.Buffers;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Weights;

/// <summary>A weight with rows or columns in another order: <c>w'[n, k] = w[rowOrder[n], columnOrder[k]]</c>.</summary>
public sealed class PermutedWeight : IWeightSource
{
    private readonly IWeightSource _source;
    private readonly int[] _rowOrder;
    private readonly int[] _columnOrder;

    /// <summary>An empty order leaves rows or columns as they are.</summary>
    /// <param name="source">The weight.</param>
    /// <param name="rowOrder">Empty, or a permutation of <c>0 .. N - 1</c>.</param>
    /// <param name="columnOrder">Empty, or a permutation of <c>0 .. K - 1</c>.</param>
    /// <exception cref="ArgumentException">An order is not a permutation.</exception>
    public PermutedWeight(IWeightSource source, IReadOnlyList<int> rowOrder, IReadOnlyList<int> columnOrder)
    {
        _source = source;
        _rowOrder = Check(rowOrder, source.Shape.N, nameof(rowOrder));
        _columnOrder = Check(columnOrder, source.Shape.K, nameof(columnOrder));
    }

    /// <inheritdoc/>
    public WeightShape Shape => _source.Shape;

    /// <inheritdoc/>
    public int PreferredRows => _source.PreferredRows;

    /// <inheritdoc/>
    public void ReadRows(long n0, int count, Span<float> rows)
    {
        WeightSource.CheckRead(Shape, n0, count, rows.Length);
        var k = (int)Shape.K;
        if (_rowOrder.Length == 0)
        {
            _source.ReadRows(n0, count, rows);
        }
        else
        {
            ReadScattered(n0, count, rows);
        }

        if (_columnOrder.Length == 0)
        {
            return;
        }

        var buffer = ArrayPool<float>.Shared.Rent(k);
        for (var i = 0; i < count; i++)
        {
            var row = rows.Slice(i * k, k);
            row.CopyTo(buffer);
            for (var j = 0; j < row.Length; j++)
            {
                row[j] = buffer[_columnOrder[j]];
            }
        }

        ArrayPool<float>.Shared.Return(buffer);
    }

    // Runs of consecutive rows are one read.
    private void ReadScattered(long n0, int count, Span<float> rows)
    {
        var k = (int)Shape.K;
        for (var i = 0; i < count;)
        {
            var first = _rowOrder[n0 + i];
            var run = 1;
            while (i + run < count && _rowOrder[n0 + i + run] == first + run)
            {
                run++;
            }

            _source.ReadRows(first, run, rows.Slice(i * k, run * k));
            i += run;
        }
    }

    private static int[] Check(IReadOnlyList<int> order, long length, string name)
    {
        if (order.Count != 0 && (order.Count != length || !order.Order().SequenceEqual(Enumerable.Range(0, (int)length))))
        {
            throw new ArgumentException($"order has {order.Count} entries; it must be empty or a permutation of 0 to {length - 1}", name);
        }

        return [.. order];
    }
}
