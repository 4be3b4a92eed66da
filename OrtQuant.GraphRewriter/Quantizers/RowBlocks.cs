using System.Buffers;
using System.Numerics.Tensors;
using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Quantizers;

/// <summary>The loop that quantizers of independent rows share: read a block of rows, fit it, round it, measure it; blocks in parallel.</summary>
internal static class RowBlocks
{
    private const int FloatsPerBlock = 1 << 20;

    /// <summary>Fits the parameters of rows <c>n0 .. n0 + count - 1</c>, whose weights <c>[count, K]</c> are given.</summary>
    public delegate void FitBlock(IWeightGrid grid, long n0, int count, ReadOnlySpan<float> values);

    /// <summary>Runs the loop over all rows of a weight.</summary>
    public static QuantizedWeight Quantize(
        IWeightSource weight, IWeightScheme scheme, SchemeParameters parameters, QuantizerContext context, FitBlock fit)
    {
        var shape = weight.Shape;
        var grid = scheme.CreateGrid(shape, parameters);
        var rows = RowsPerBlock(weight, grid);
        var blocks = (int)((shape.N + rows - 1) / rows);
        var errors = new (double Difference, double Norm)[blocks];
        var options = new ParallelOptions { MaxDegreeOfParallelism = context.ThreadCount, CancellationToken = context.CancellationToken };
        try
        {
            Parallel.For(0, blocks, options, block =>
            {
                var n0 = (long)block * rows;
                var count = (int)Math.Min(rows, shape.N - n0);
                errors[block] = QuantizeBlock(weight, grid, n0, count, fit);
            });
        }
        catch (AggregateException errorsOfBlocks) when (errorsOfBlocks.InnerExceptions.OfType<OrtQuantException>().FirstOrDefault() is { } first)
        {
            throw new OrtQuantException($"weight '{context.WeightName}' {shape}: {first.Message}", first);
        }

        // Summed in block order: the same number for any number of threads.
        var (difference, norm) = errors.Aggregate((Difference: 0.0, Norm: 0.0), (sum, block) => (sum.Difference + block.Difference, sum.Norm + block.Norm));
        return new QuantizedWeight(grid, norm == 0 ? 0 : Math.Sqrt(difference / norm));
    }

    private static (double Difference, double Norm) QuantizeBlock(IWeightSource weight, IWeightGrid grid, long n0, int count, FitBlock fit)
    {
        var k = (int)weight.Shape.K;
        var buffer = ArrayPool<float>.Shared.Rent((count + 1) * k);
        try
        {
            var values = buffer.AsSpan(0, count * k);
            var dequantized = buffer.AsSpan(count * k, k);
            weight.ReadRows(n0, count, values);
            fit(grid, n0, count, values);
            double difference = 0, norm = 0;
            for (var i = 0; i < count; i++)
            {
                var row = values.Slice(i * k, k);
                grid.Round(n0 + i, 0, row, dequantized);
                TensorPrimitives.Subtract(row, dequantized, dequantized);
                difference += TensorPrimitives.SumOfSquares<float>(dequantized);
                norm += TensorPrimitives.SumOfSquares<float>(row);
            }

            return (difference, norm);
        }
        finally
        {
            ArrayPool<float>.Shared.Return(buffer);
        }
    }

    private static int RowsPerBlock(IWeightSource weight, IWeightGrid grid)
    {
        var unit = grid.RowBlock;
        var rows = Math.Max(weight.PreferredRows, unit);
        rows = (int)Math.Max(unit, Math.Min(rows, FloatsPerBlock / weight.Shape.K));
        return rows / unit * unit;
    }
}
