using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace OrtQuant.GraphRewriter.Quantizers.Gram;

/// <summary>
/// The upper triangular M with <c>H = M M^T</c>. The error <c>e H e^T = |e M|^2</c> of a row then is a sum whose term j depends on
/// <c>e_0 .. e_j</c> only: fixing positions in order, each can cancel what those before it left. <c>M_jj^2 = 1 / [H_{j..}^-1]_jj</c> is the error of
/// position j once those after it may still compensate, so this is GPTQ without the inverse.
/// </summary>
internal static class UpperFactor
{
    // Columns of a block: a multiple of what a vector holds, and of the columns taken at once.
    private const int BlockSize = 64;
    private const int RowsAtOnce = 2;
    private const int ColumnsAtOnce = 4;

    /// <summary>
    /// Factors a symmetric matrix in double precision, left-looking over blocks of columns; null if it is not positive definite. The matrix is read in
    /// reverse, because the upper factor is the ordinary (lower) one of the reversed matrix.
    /// </summary>
    /// <param name="matrix">Symmetric, <c>[size, size]</c> row-major, from <paramref name="start"/> on.</param>
    /// <param name="start">First element.</param>
    /// <param name="stride">Elements from row to row.</param>
    /// <param name="size">Rows and columns.</param>
    /// <param name="threads">Most threads.</param>
    public static float[]? Of(float[] matrix, long start, int stride, int size, int threads)
    {
        var lower = new double[size][];
        var options = new ParallelOptions { MaxDegreeOfParallelism = size < 256 ? 1 : threads };
        Parallel.For(0, size, options, i =>
        {
            var row = new double[i + 1];
            var source = start + ((long)(size - 1 - i) * stride) + size - 1;
            for (var j = 0; j <= i; j++) row[j] = matrix[source - j];
            lower[i] = row;
        });

        for (var block = 0; block < size; block += BlockSize)
        {
            var end = Math.Min(size, block + BlockSize);
            for (var i = block; i < end; i++)
            {
                if (!Complete(lower, i, block, i + 1)) return null;
            }

            Parallel.For(0, (size - end + RowsAtOnce - 1) / RowsAtOnce, options, pair =>
            {
                var i = end + (pair * RowsAtOnce);
                CompleteTwo(lower, i, Math.Min(i + 1, size - 1), block, end);
            });
        }

        return Reverse(lower, size, options);
    }

    // Columns from .. to - 1 of row i, once those before are known. False at a pivot that is not positive.
    private static bool Complete(double[][] lower, int i, int from, int to)
    {
        var row = lower[i];
        for (var j = from; j < to; j++)
        {
            var rest = row[j] - TensorPrimitives.Dot<double>(row.AsSpan(0, j), lower[j].AsSpan(0, j));
            if (j < i)
            {
                row[j] = rest / lower[j][j];
                continue;
            }

            if (!(rest > 0)) return false;
            row[i] = Math.Sqrt(rest);
        }

        return true;
    }

    // The same of two rows (or of one twice) below the block. What the columns before the block take off is two by four dot products at once: a
    // number is loaded for several of them.
    private static void CompleteTwo(double[][] lower, int i0, int i1, int from, int to)
    {
        var (first, second) = (lower[i0], lower[i1]);
        Span<double> rest = stackalloc double[2 * BlockSize];
        for (var j = from; j < to; j += ColumnsAtOnce)
        {
            Dots(first, second, lower, Math.Min(j, to - 1), to - 1, from, rest[(2 * (j - from))..]);
        }

        for (var j = from; j < to; j++)
        {
            var column = lower[j];
            var (sum0, sum1) = (rest[2 * (j - from)], rest[(2 * (j - from)) + 1]);
            var known = column.AsSpan(from, j - from);
            var value0 = (first[j] - sum0 - TensorPrimitives.Dot<double>(first.AsSpan(from, j - from), known)) / column[j];
            var value1 = (second[j] - sum1 - TensorPrimitives.Dot<double>(second.AsSpan(from, j - from), known)) / column[j];
            (first[j], second[j]) = (value0, value1);
        }
    }

    // Dot products of two rows with rows j .. j + 3 (the last again where there are fewer) over the first columns; pairs in order of j.
    private static void Dots(double[] first, double[] second, double[][] lower, int j, int last, int columns, Span<double> sums)
    {
        ref var x0 = ref MemoryMarshal.GetArrayDataReference(first);
        ref var x1 = ref MemoryMarshal.GetArrayDataReference(second);
        ref var y0 = ref MemoryMarshal.GetArrayDataReference(lower[j]);
        ref var y1 = ref MemoryMarshal.GetArrayDataReference(lower[Math.Min(j + 1, last)]);
        ref var y2 = ref MemoryMarshal.GetArrayDataReference(lower[Math.Min(j + 2, last)]);
        ref var y3 = ref MemoryMarshal.GetArrayDataReference(lower[Math.Min(j + 3, last)]);
        var (a0, a1, a2, a3) = (Vector256<double>.Zero, Vector256<double>.Zero, Vector256<double>.Zero, Vector256<double>.Zero);
        var (b0, b1, b2, b3) = (Vector256<double>.Zero, Vector256<double>.Zero, Vector256<double>.Zero, Vector256<double>.Zero);
        for (nuint at = 0; at < (nuint)columns; at += (nuint)Vector256<double>.Count)
        {
            var (u, v) = (Vector256.LoadUnsafe(ref x0, at), Vector256.LoadUnsafe(ref x1, at));
            var y = Vector256.LoadUnsafe(ref y0, at);
            (a0, b0) = (Vector256.FusedMultiplyAdd(u, y, a0), Vector256.FusedMultiplyAdd(v, y, b0));
            y = Vector256.LoadUnsafe(ref y1, at);
            (a1, b1) = (Vector256.FusedMultiplyAdd(u, y, a1), Vector256.FusedMultiplyAdd(v, y, b1));
            y = Vector256.LoadUnsafe(ref y2, at);
            (a2, b2) = (Vector256.FusedMultiplyAdd(u, y, a2), Vector256.FusedMultiplyAdd(v, y, b2));
            y = Vector256.LoadUnsafe(ref y3, at);
            (a3, b3) = (Vector256.FusedMultiplyAdd(u, y, a3), Vector256.FusedMultiplyAdd(v, y, b3));
        }

        ReadOnlySpan<double> all =
            [Vector256.Sum(a0), Vector256.Sum(b0), Vector256.Sum(a1), Vector256.Sum(b1), Vector256.Sum(a2), Vector256.Sum(b2), Vector256.Sum(a3), Vector256.Sum(b3)];
        all[..Math.Min(all.Length, sums.Length)].CopyTo(sums);
    }

    private static float[] Reverse(double[][] lower, int size, ParallelOptions options)
    {
        var upper = new float[(long)size * size];
        Parallel.For(0, size, options, i =>
        {
            var row = lower[size - 1 - i];
            var target = (long)i * size;
            for (var j = i; j < size; j++) upper[target + j] = (float)row[size - 1 - j];
        });
        return upper;
    }
}
