using System.Numerics.Tensors;

namespace OrtQuant.GraphRewriter.Quantizers.Gram;

/// <summary>
/// The upper triangular M with <c>H = M M^T</c>. The error <c>e H e^T = |e M|^2</c> of a row then is a sum whose term j depends on
/// <c>e_0 .. e_j</c> only: fixing positions in order, each can cancel what those before it left. <c>M_jj^2 = 1 / [H_{j..}^-1]_jj</c> is the error of
/// position j once those after it may still compensate, so this is GPTQ without the inverse.
/// </summary>
internal static class UpperFactor
{
    private const int BlockSize = 64;

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

            Parallel.For(end, size, options, i => Complete(lower, i, block, end));
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
