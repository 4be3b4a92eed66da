using System.Numerics.Tensors;
using OrtQuant.GraphRewriter.Quantizers;

namespace OrtQuant.GraphRewriter.Calibration;

/// <summary>Statistics of one value X, gathered batch by batch. The numbers do not depend on the number of threads.</summary>
internal sealed class InputStatistics(int k)
{
    // Columns that one thread sums: enough for vectors, few enough for many threads.
    private const int ColumnsPerTask = 128;

    private readonly double[] _squares = new double[k];
    private readonly double[] _magnitudes = new double[k];
    private readonly float[] _largest = new float[k];

    /// <summary>Rows of X seen.</summary>
    internal long Tokens { get; private set; }

    /// <summary>Sum of x x^T; null where it was not asked for.</summary>
    internal GramSum? Gram { get; set; }

    /// <summary>Sum of x_ref x^T; null where it was not asked for.</summary>
    internal GramSum? CrossGram { get; set; }

    /// <summary>Adds rows of X.</summary>
    /// <param name="rows">Values <c>[count, K]</c>.</param>
    /// <param name="threads">Most threads to use.</param>
    internal void Add(ReadOnlyMemory<float> rows, int threads)
    {
        var count = rows.Length / k;
        var options = new ParallelOptions { MaxDegreeOfParallelism = threads };
        Parallel.For(0, (k + ColumnsPerTask - 1) / ColumnsPerTask, options, task => AddColumns(rows.Span, count, task * ColumnsPerTask));
        Tokens += count;
    }

    /// <summary>Means, as quantizers take them.</summary>
    internal ActivationStatistics Finish()
    {
        var scale = 1.0 / Math.Max(1, Tokens);
        return new ActivationStatistics
        {
            Tokens = Tokens,
            SecondMoments = Mean(_squares),
            MeanAbs = Mean(_magnitudes),
            AbsMax = _largest,
            Gram = Gram is null ? default : Gram.Mean(Tokens),
            CrossGram = CrossGram is null ? default : CrossGram.Mean(Tokens),
        };

        float[] Mean(double[] sums) => Array.ConvertAll(sums, sum => (float)(sum * scale));
    }

    private void AddColumns(ReadOnlySpan<float> rows, int count, int first)
    {
        var columns = Math.Min(ColumnsPerTask, k - first);
        Span<float> squares = stackalloc float[columns], magnitudes = stackalloc float[columns], absolute = stackalloc float[columns];
        squares.Clear();
        magnitudes.Clear();
        var largest = _largest.AsSpan(first, columns);
        for (var row = 0; row < count; row++)
        {
            var x = rows.Slice((row * k) + first, columns);
            TensorPrimitives.MultiplyAdd(x, x, squares, squares);
            TensorPrimitives.Abs(x, absolute);
            TensorPrimitives.Add(magnitudes, absolute, magnitudes);
            TensorPrimitives.Max(largest, absolute, largest);
        }

        for (var i = 0; i < columns; i++)
        {
            _squares[first + i] += squares[i];
            _magnitudes[first + i] += magnitudes[i];
        }
    }
}
