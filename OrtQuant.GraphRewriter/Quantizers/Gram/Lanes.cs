using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace OrtQuant.GraphRewriter.Quantizers.Gram;

/// <summary>
/// Kernels over tiles of 16 rows, a row a lane: matrices <c>[k, 16]</c>. What is sequential along k (error feedback) then is one vector
/// operation for 16 rows, and a number of the Gram matrix is loaded once for all of them.
/// </summary>
internal static class Lanes
{
    /// <summary>Rows in a tile.</summary>
    public const int Count = 16;

    /// <summary><c>target[j] += sum_i factors[i] * matrix[(i0 + i) * stride + j0 + j]</c> for all j of the target.</summary>
    /// <param name="target">Matrix <c>[J, 16]</c>.</param>
    /// <param name="factors">Matrix <c>[I, 16]</c>.</param>
    /// <param name="matrix">A matrix, row-major.</param>
    /// <param name="stride">Its number of columns.</param>
    /// <param name="i0">Its first row.</param>
    /// <param name="j0">Its first column.</param>
    public static void AddProduct(Span<float> target, ReadOnlySpan<float> factors, ReadOnlySpan<float> matrix, int stride, int i0, int j0)
    {
        var (columns, rows) = (target.Length / Count, factors.Length / Count);
        if (columns == 0 || rows == 0) return;
        _ = matrix[((i0 + rows - 1) * stride) + j0 + columns - 1];
        ref var m = ref Unsafe.Add(ref MemoryMarshal.GetReference(matrix), (i0 * stride) + j0);
        ref var f = ref MemoryMarshal.GetReference(factors);
        ref var t = ref MemoryMarshal.GetReference(target);
        var j = 0;
        for (; j + 4 <= columns; j += 4)
        {
            AddFour(ref Unsafe.Add(ref t, j * Count), ref f, ref Unsafe.Add(ref m, j), rows, stride);
        }

        for (; j < columns; j++)
        {
            ref var to = ref Unsafe.Add(ref t, j * Count);
            var (lower, upper) = (Vector256.LoadUnsafe(ref to), Vector256.LoadUnsafe(ref to, 8));
            for (var i = 0; i < rows; i++)
            {
                var value = Vector256.Create(Unsafe.Add(ref m, (i * stride) + j));
                lower = Vector256.FusedMultiplyAdd(value, Vector256.LoadUnsafe(ref f, (nuint)(i * Count)), lower);
                upper = Vector256.FusedMultiplyAdd(value, Vector256.LoadUnsafe(ref f, (nuint)((i * Count) + 8)), upper);
            }

            lower.StoreUnsafe(ref to);
            upper.StoreUnsafe(ref to, 8);
        }
    }

    /// <summary><c>target[i] -= sum_j factors[j] * matrix[(i0 + i) * stride + j0 + j]</c> for all i of the target.</summary>
    /// <param name="target">Matrix <c>[I, 16]</c>.</param>
    /// <param name="factors">Matrix <c>[J, 16]</c>.</param>
    /// <param name="matrix">A matrix, row-major.</param>
    /// <param name="stride">Its number of columns.</param>
    /// <param name="i0">Its first row.</param>
    /// <param name="j0">Its first column.</param>
    public static void SubtractTransposed(Span<float> target, ReadOnlySpan<float> factors, ReadOnlySpan<float> matrix, int stride, int i0, int j0)
    {
        var (rows, columns) = (target.Length / Count, factors.Length / Count);
        if (columns == 0 || rows == 0) return;
        _ = matrix[((i0 + rows - 1) * stride) + j0 + columns - 1];
        ref var m = ref Unsafe.Add(ref MemoryMarshal.GetReference(matrix), (i0 * stride) + j0);
        ref var f = ref MemoryMarshal.GetReference(factors);
        ref var t = ref MemoryMarshal.GetReference(target);
        var i = 0;
        for (; i + 4 <= rows; i += 4)
        {
            SubtractFour(ref Unsafe.Add(ref t, i * Count), ref f, ref Unsafe.Add(ref m, i * stride), columns, stride);
        }

        for (; i < rows; i++)
        {
            ref var to = ref Unsafe.Add(ref t, i * Count);
            ref var row = ref Unsafe.Add(ref m, i * stride);
            var (lower, upper) = (Vector256.LoadUnsafe(ref to), Vector256.LoadUnsafe(ref to, 8));
            for (var j = 0; j < columns; j++)
            {
                var value = Vector256.Create(-Unsafe.Add(ref row, j));
                lower = Vector256.FusedMultiplyAdd(value, Vector256.LoadUnsafe(ref f, (nuint)(j * Count)), lower);
                upper = Vector256.FusedMultiplyAdd(value, Vector256.LoadUnsafe(ref f, (nuint)((j * Count) + 8)), upper);
            }

            lower.StoreUnsafe(ref to);
            upper.StoreUnsafe(ref to, 8);
        }
    }

    /// <summary>Rows <c>[count, K]</c> as a tile <c>[K, 16]</c> in another order of k; absent rows are zero.</summary>
    public static void Load(ReadOnlySpan<float> rows, int count, ReadOnlySpan<int> order, Span<float> tile)
    {
        tile.Clear();
        var k = order.Length;
        for (var i = 0; i < count; i++)
        {
            var row = rows.Slice(i * k, k);
            for (var position = 0; position < k; position++) tile[(position * Count) + i] = row[order[position]];
        }
    }

    private static void SubtractFour(ref float t, ref float f, ref float m, int columns, int stride)
    {
        var (a0, a1) = (Vector256.LoadUnsafe(ref t), Vector256.LoadUnsafe(ref t, 8));
        var (b0, b1) = (Vector256.LoadUnsafe(ref t, 16), Vector256.LoadUnsafe(ref t, 24));
        var (c0, c1) = (Vector256.LoadUnsafe(ref t, 32), Vector256.LoadUnsafe(ref t, 40));
        var (d0, d1) = (Vector256.LoadUnsafe(ref t, 48), Vector256.LoadUnsafe(ref t, 56));
        for (var j = 0; j < columns; j++)
        {
            ref var column = ref Unsafe.Add(ref m, j);
            var (f0, f1) = (-Vector256.LoadUnsafe(ref f, (nuint)(j * Count)), -Vector256.LoadUnsafe(ref f, (nuint)((j * Count) + 8)));
            var value = Vector256.Create(column);
            a0 = Vector256.FusedMultiplyAdd(value, f0, a0);
            a1 = Vector256.FusedMultiplyAdd(value, f1, a1);
            value = Vector256.Create(Unsafe.Add(ref column, stride));
            b0 = Vector256.FusedMultiplyAdd(value, f0, b0);
            b1 = Vector256.FusedMultiplyAdd(value, f1, b1);
            value = Vector256.Create(Unsafe.Add(ref column, 2 * stride));
            c0 = Vector256.FusedMultiplyAdd(value, f0, c0);
            c1 = Vector256.FusedMultiplyAdd(value, f1, c1);
            value = Vector256.Create(Unsafe.Add(ref column, 3 * stride));
            d0 = Vector256.FusedMultiplyAdd(value, f0, d0);
            d1 = Vector256.FusedMultiplyAdd(value, f1, d1);
        }

        a0.StoreUnsafe(ref t);
        a1.StoreUnsafe(ref t, 8);
        b0.StoreUnsafe(ref t, 16);
        b1.StoreUnsafe(ref t, 24);
        c0.StoreUnsafe(ref t, 32);
        c1.StoreUnsafe(ref t, 40);
        d0.StoreUnsafe(ref t, 48);
        d1.StoreUnsafe(ref t, 56);
    }

    private static void AddFour(ref float t, ref float f, ref float m, int rows, int stride)
    {
        var (a0, a1) = (Vector256.LoadUnsafe(ref t), Vector256.LoadUnsafe(ref t, 8));
        var (b0, b1) = (Vector256.LoadUnsafe(ref t, 16), Vector256.LoadUnsafe(ref t, 24));
        var (c0, c1) = (Vector256.LoadUnsafe(ref t, 32), Vector256.LoadUnsafe(ref t, 40));
        var (d0, d1) = (Vector256.LoadUnsafe(ref t, 48), Vector256.LoadUnsafe(ref t, 56));
        for (var i = 0; i < rows; i++)
        {
            ref var row = ref Unsafe.Add(ref m, i * stride);
            var (f0, f1) = (Vector256.LoadUnsafe(ref f, (nuint)(i * Count)), Vector256.LoadUnsafe(ref f, (nuint)((i * Count) + 8)));
            var value = Vector256.Create(row);
            a0 = Vector256.FusedMultiplyAdd(value, f0, a0);
            a1 = Vector256.FusedMultiplyAdd(value, f1, a1);
            value = Vector256.Create(Unsafe.Add(ref row, 1));
            b0 = Vector256.FusedMultiplyAdd(value, f0, b0);
            b1 = Vector256.FusedMultiplyAdd(value, f1, b1);
            value = Vector256.Create(Unsafe.Add(ref row, 2));
            c0 = Vector256.FusedMultiplyAdd(value, f0, c0);
            c1 = Vector256.FusedMultiplyAdd(value, f1, c1);
            value = Vector256.Create(Unsafe.Add(ref row, 3));
            d0 = Vector256.FusedMultiplyAdd(value, f0, d0);
            d1 = Vector256.FusedMultiplyAdd(value, f1, d1);
        }

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
