using System.Collections.Concurrent;
using System.Numerics.Tensors;
using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Quantizers.Gram;

/// <summary>Quantizes a weight for the least error of its output, tiles of rows in parallel.</summary>
internal static class GramDriver
{
    /// <summary>Quantizes a weight; by <see cref="WeightedSearch"/> where its inputs' Gram matrix is not known or says nothing.</summary>
    public static QuantizedWeight Quantize(
        IWeightSource weight, IWeightScheme scheme, SchemeParameters parameters, QuantizerContext context, GramOptions options)
    {
        var diagonal = StatisticsCheck.Diagonal(weight, context);
        if (diagonal.Length == 0) return WeightedSearch.Instance.Quantize(weight, scheme, parameters, context);
        context.CancellationToken.ThrowIfCancellationRequested();
        try
        {
            var statistics = context.Statistics!;
            var grid = scheme.CreateGrid(weight.Shape, parameters);
            var problem = new GramProblem(
                statistics.Gram.Span, diagonal, grid.GroupSize, options.ShrinkageOf(diagonal.Length, statistics.Tokens), options.Damping, context.ThreadCount);
            if (grid is not IAffineGrid affine)
            {
                return Run(weight, grid, context, (n0, count, values) => RowFeedback.Quantize(problem, diagonal, grid, n0, count, values));
            }

            var targets = statistics.CrossGram.IsEmpty || options.Asymmetry == 0 ? null : new AsymmetricTarget(problem, statistics, options.Asymmetry);
            var freedom = FreedomOf(affine);
            var solvers = new ConcurrentBag<TileSolver>();
            return Run(weight, grid, context, (n0, count, values) =>
            {
                // Names what cannot be held, and fixes what groups share: with outliers, or widths that differ, the inputs decide about that.
                grid.FitRows(n0, count, values, affine is ISparseGrid ? diagonal : []);
                if (!solvers.TryTake(out var solver)) solver = new TileSolver(problem, options, affine, freedom);
                for (var done = 0; done < count; done += Lanes.Count)
                {
                    var rows = Math.Min(Lanes.Count, count - done);
                    solver.Quantize(n0 + done, rows, values.Slice(done * problem.K, rows * problem.K), targets);
                }

                solvers.Add(solver);
            });
        }
        catch (OrtQuantException error)
        {
            throw new OrtQuantException($"weight '{context.WeightName}' {weight.Shape}: {error.Message}", error);
        }
    }

    private delegate void QuantizeRows(long n0, int count, ReadOnlySpan<float> values);

    private static QuantizedWeight Run(IWeightSource weight, IWeightGrid grid, QuantizerContext context, QuantizeRows quantize)
    {
        var (n, k) = (weight.Shape.N, (int)weight.Shape.K);
        var block = (Lanes.Count + grid.RowBlock - 1) / grid.RowBlock * grid.RowBlock;
        var blocks = (int)((n + block - 1) / block);
        var errors = new (double Difference, double Norm)[blocks];
        var parallel = new ParallelOptions { MaxDegreeOfParallelism = context.ThreadCount, CancellationToken = context.CancellationToken };
        try
        {
            Parallel.For(0, blocks, parallel, i =>
            {
                var n0 = (long)i * block;
                var count = (int)Math.Min(block, n - n0);
                var values = new float[count * k];
                weight.ReadRows(n0, count, values);
                quantize(n0, count, values);
                errors[i] = Measure(grid, n0, count, values);
            });
        }
        catch (AggregateException aggregate) when (aggregate.InnerExceptions.OfType<OrtQuantException>().FirstOrDefault() is { } first)
        {
            throw first;
        }

        var (difference, norm) = errors.Aggregate((Difference: 0.0, Norm: 0.0), (sum, tile) => (sum.Difference + tile.Difference, sum.Norm + tile.Norm));
        return new QuantizedWeight(grid, norm == 0 ? 0 : Math.Sqrt(difference / norm));
    }

    private static (double Difference, double Norm) Measure(IWeightGrid grid, long n0, int count, ReadOnlySpan<float> values)
    {
        var k = values.Length / count;
        var row = new float[k];
        double difference = 0, norm = 0;
        for (var i = 0; i < count; i++)
        {
            grid.Dequantize(n0 + i, row);
            TensorPrimitives.Subtract(values.Slice(i * k, k), row, row);
            difference += TensorPrimitives.SumOfSquares<float>(row);
            norm += TensorPrimitives.SumOfSquares(values.Slice(i * k, k));
        }

        return (difference, norm);
    }

    // What comes back of a number that is neither an integer nor the middle code.
    private static ZeroPointFreedom FreedomOf(IAffineGrid grid)
    {
        grid.SetGroup(0, 0, 1f, 0.25f);
        return grid.GetGroup(0, 0).ZeroPoint switch
        {
            0.25f => ZeroPointFreedom.Real,
            0f => ZeroPointFreedom.Integer,
            _ => ZeroPointFreedom.Fixed,
        };
    }
}
