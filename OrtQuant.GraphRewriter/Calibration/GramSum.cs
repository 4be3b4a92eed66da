using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace OrtQuant.GraphRewriter.Calibration;

/// <summary>
/// A sum of outer products <c>A^T B</c> over batches of rows, <c>[K, K]</c>. Of <c>X^T X</c> only the upper half is computed until the mean is asked for.
/// The numbers do not depend on the number of threads.
/// </summary>
/// <param name="k">K.</param>
/// <param name="symmetric">Whether A and B are the same in all batches.</param>
internal sealed class GramSum(int k, bool symmetric)
{
    // A tile of the sum, 4 x 16, stays in registers while a chunk of rows, packed 16 columns at a time, goes by in the first-level cache.
    private const int PanelColumns = 16;
    private const int TileRows = 4;
    private const int ChunkRows = 256;

    private readonly int _panels = (k + PanelColumns - 1) / PanelColumns;
    private readonly float[] _sum = new float[checked(k * k)];
    private float[] _left = [];
    private float[] _right = [];

    /// <summary>Adds <c>X^T X</c> to a symmetric sum.</summary>
    /// <param name="rows">X, <c>[count, K]</c>.</param>
    /// <param name="threads">Most threads to use.</param>
    internal void Add(ReadOnlyMemory<float> rows, int threads)
    {
        if (!symmetric) throw new InvalidOperationException("the sum of products of two matrices needs both");
        AddChunks(rows, rows, threads);
    }

    /// <summary>Adds <c>A^T B</c>.</summary>
    /// <param name="a">A, <c>[count, K]</c>.</param>
    /// <param name="b">B, <c>[count, K]</c>.</param>
    /// <param name="threads">Most threads to use.</param>
    internal void Add(ReadOnlyMemory<float> a, ReadOnlyMemory<float> b, int threads)
    {
        if (symmetric) throw new InvalidOperationException("a symmetric sum takes one matrix");
        AddChunks(a, b, threads);
    }

    /// <summary>The sum divided by the number of tokens; the object cannot be used any more.</summary>
    internal ReadOnlyMemory<float> Mean(long tokens)
    {
        TensorPrimitives.Multiply(_sum, 1f / Math.Max(1, tokens), _sum);
        if (!symmetric) return _sum;
        for (var i = 1; i < k; i++)
        {
            for (var j = 0; j < i; j++) _sum[(i * k) + j] = _sum[(j * k) + i];
        }

        return _sum;
    }

    private void AddChunks(ReadOnlyMemory<float> a, ReadOnlyMemory<float> b, int threads)
    {
        var options = new ParallelOptions { MaxDegreeOfParallelism = threads };
        for (var done = 0; done < a.Length; done += ChunkRows * k)
        {
            var length = Math.Min(ChunkRows * k, a.Length - done);
            var count = length / k;
            Pack(a.Slice(done, length), ref _left, options);
            if (!symmetric) Pack(b.Slice(done, length), ref _right, options);
            Parallel.For(0, _panels, options, panel => AddPanel(panel, count, _left, symmetric ? _left : _right));
        }
    }

    // [count, K] as [K / 16][count][16], the last panel filled up with zeros.
    private void Pack(ReadOnlyMemory<float> rows, ref float[] packed, ParallelOptions options)
    {
        var count = rows.Length / k;
        if (packed.Length == 0) packed = GC.AllocateUninitializedArray<float>(_panels * ChunkRows * PanelColumns);
        var target = packed;
        Parallel.For(0, _panels, options, panel =>
        {
            var source = rows.Span;
            var columns = Math.Min(PanelColumns, k - (panel * PanelColumns));
            for (var row = 0; row < count; row++)
            {
                var to = target.AsSpan(((panel * ChunkRows) + row) * PanelColumns, PanelColumns);
                source.Slice((row * k) + (panel * PanelColumns), columns).CopyTo(to);
                to[columns..].Clear();
            }
        });
    }

    private void AddPanel(int panel, int count, float[] left, float[] right)
    {
        Span<float> tile = stackalloc float[TileRows * PanelColumns];
        var last = Math.Min(k, (panel + 1) * PanelColumns);
        for (var other = symmetric ? panel : 0; other < _panels; other++)
        {
            var columns = Math.Min(PanelColumns, k - (other * PanelColumns));
            for (var i = panel * PanelColumns; i < last; i += TileRows)
            {
                Multiply(ref left[(panel * ChunkRows * PanelColumns) + (i % PanelColumns)], ref right[other * ChunkRows * PanelColumns], count, tile);
                for (var row = 0; row < Math.Min(TileRows, last - i); row++)
                {
                    var target = _sum.AsSpan(((i + row) * k) + (other * PanelColumns), columns);
                    TensorPrimitives.Add(target, tile.Slice(row * PanelColumns, columns), target);
                }
            }
        }
    }

    // tile[r, c] = sum over the rows of left[row, r] * right[row, c].
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Multiply(ref float left, ref float right, int count, Span<float> tile)
    {
        var (a0, a1, b0, b1) = (Vector256<float>.Zero, Vector256<float>.Zero, Vector256<float>.Zero, Vector256<float>.Zero);
        var (c0, c1, d0, d1) = (Vector256<float>.Zero, Vector256<float>.Zero, Vector256<float>.Zero, Vector256<float>.Zero);
        for (var row = 0; row < count; row++)
        {
            var (right0, right1) = (Vector256.LoadUnsafe(ref right), Vector256.LoadUnsafe(ref right, 8));
            var value = Vector256.Create(left);
            a0 = Vector256.FusedMultiplyAdd(value, right0, a0);
            a1 = Vector256.FusedMultiplyAdd(value, right1, a1);
            value = Vector256.Create(Unsafe.Add(ref left, 1));
            b0 = Vector256.FusedMultiplyAdd(value, right0, b0);
            b1 = Vector256.FusedMultiplyAdd(value, right1, b1);
            value = Vector256.Create(Unsafe.Add(ref left, 2));
            c0 = Vector256.FusedMultiplyAdd(value, right0, c0);
            c1 = Vector256.FusedMultiplyAdd(value, right1, c1);
            value = Vector256.Create(Unsafe.Add(ref left, 3));
            d0 = Vector256.FusedMultiplyAdd(value, right0, d0);
            d1 = Vector256.FusedMultiplyAdd(value, right1, d1);
            left = ref Unsafe.Add(ref left, PanelColumns);
            right = ref Unsafe.Add(ref right, PanelColumns);
        }

        ref var t = ref MemoryMarshal.GetReference(tile);
        a0.StoreUnsafe(ref t);
        a1.StoreUnsafe(ref t, 8);
        b0.StoreUnsafe(ref t, 16);
        b1.StoreUnsafe(ref t, 24);
        c0.StoreUnsafe(ref t, 32);
        c1.StoreUnsafe(ref t, 40);
        d0.StoreUnsafe(ref t, 48);
        d1.StoreUnsafe(ref t, 56);
    }
}
