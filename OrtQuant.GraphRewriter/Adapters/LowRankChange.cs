using System.Numerics.Tensors;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Weights;

namespace OrtQuant.GraphRewriter.Adapters;

/// <summary>
/// A low-rank change of some rows of a weight, <c>D[n, k] = factor * sum over r of B[n - first row, r] A[r, k / pool]</c>. Factors are read when they are
/// needed and can be let go in between.
/// </summary>
/// <param name="FirstRow">First row of the weight that it changes.</param>
/// <param name="A">Factor <c>[r, K / pool]</c>.</param>
/// <param name="B">Factor <c>[rows, r]</c>.</param>
/// <param name="Factor">Factor on the product.</param>
/// <param name="Pool">Consecutive k that get the same change; 1: each its own.</param>
internal sealed record LowRankChange(long FirstRow, LazyTensor A, LazyTensor B, float Factor, int Pool)
{
    private readonly WeakReference<Values?> _values = new(null);

    internal int Rank => checked((int)A.Shape[0]);

    internal int Columns => checked((int)A.Shape[1]);

    internal int Rows => checked((int)B.Shape[0]);

    /// <summary>The same change of a weight that this one's is a part of.</summary>
    internal LowRankChange Moved(long rows) => new(FirstRow + rows, A, B, Factor, Pool);

    /// <summary>The same change with factors that need no file.</summary>
    internal LowRankChange InMemory() => new(FirstRow, Copy(A), Copy(B), Factor, Pool);

    private static LazyTensor Copy(LazyTensor tensor) => LazyTensor.FromBytes(tensor.Type, tensor.Shape, tensor.ReadBytes());

    /// <summary>The factors as float32, checked to be finite.</summary>
    internal Values Read()
    {
        lock (_values)
        {
            if (_values.TryGetTarget(out var known) && known is not null) return known;
            var (a, b) = (Floats(A), Floats(B));
            TensorPrimitives.Multiply(b, Factor, b);
            var values = new Values(this, a, b);
            _values.SetTarget(values);
            return values;
        }
    }

    private static float[] Floats(LazyTensor tensor)
    {
        if (!ElementReader.Types.Contains(tensor.Type)) throw new AdapterException($"a factor is {tensor.Type}; it must be one of {string.Join(", ", ElementReader.Types)}");
        var values = tensor.ReadFloats();
        return Array.TrueForAll(values, float.IsFinite) ? values : throw new AdapterException("a factor of the adapter holds NaN or an infinity");
    }

    /// <summary>Factors in memory; the scale is in B.</summary>
    internal sealed class Values(LowRankChange change, float[] a, float[] b)
    {
        private float[]? _columnsOfB;

        internal ReadOnlySpan<float> RowOfA(int r) => a.AsSpan(r * change.Columns, change.Columns);

        /// <summary>Adds consecutive columns of one of the changed rows.</summary>
        internal void AddRow(int row, int column, Span<float> values)
        {
            for (var r = 0; r < change.Rank; r++) TensorPrimitives.MultiplyAdd(a.AsSpan((r * change.Columns) + column, values.Length), b[(row * change.Rank) + r], values, values);
        }

        /// <summary>Adds consecutive ones of the changed rows, of one column.</summary>
        internal void AddColumn(int column, int row, Span<float> values)
        {
            var transposed = LazyInitializer.EnsureInitialized(ref _columnsOfB, Transpose);
            for (var r = 0; r < change.Rank; r++) TensorPrimitives.MultiplyAdd(transposed.AsSpan((r * change.Rows) + row, values.Length), a[(r * change.Columns) + column], values, values);
        }

        /// <summary>B transposed, <c>[r, rows]</c>.</summary>
        internal float[] Transpose()
        {
            var transposed = new float[b.Length];
            for (var row = 0; row < change.Rows; row++)
            {
                for (var r = 0; r < change.Rank; r++) transposed[(r * change.Rows) + row] = b[(row * change.Rank) + r];
            }

            return transposed;
        }
    }
}
