using System.Numerics.Tensors;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Quantizers.Gram;

/// <summary>
/// Error feedback for grids that only fit and round: parameters fixed first, weighted by the diagonal, then codes one after the other. A row at a time;
/// <see cref="TileSolver"/> is for grids whose scales can be set.
/// </summary>
internal static class RowFeedback
{
    /// <summary>Quantizes rows into the grid.</summary>
    /// <param name="problem">What the rows share.</param>
    /// <param name="diagonal">Diagonal of the Gram matrix, in the order of k.</param>
    /// <param name="grid">The grid.</param>
    /// <param name="n0">First row, a multiple of the grid's row block.</param>
    /// <param name="count">Rows: a multiple of the row block, or up to the last.</param>
    /// <param name="values">The weights <c>[count, K]</c>.</param>
    public static void Quantize(GramProblem problem, ReadOnlySpan<float> diagonal, IWeightGrid grid, long n0, int count, ReadOnlySpan<float> values)
    {
        var k = problem.K;
        grid.FitRows(n0, count, values, diagonal);
        var pull = new float[k];
        var update = new float[k];
        Span<float> one = stackalloc float[1];
        for (var i = 0; i < count; i++)
        {
            var row = values.Slice(i * k, k);
            Array.Clear(pull);
            for (var j = 0; j < k; j++)
            {
                var position = problem.Order.Positions[j];
                var factor = problem.Factor.AsSpan(j * k, k);
                one[0] = row[position] + (pull[j] / factor[j]);
                grid.Round(n0 + i, position, one, one);
                TensorPrimitives.Multiply(factor[(j + 1)..], row[position] - one[0], update.AsSpan(j + 1));
                TensorPrimitives.Add<float>(pull.AsSpan(j + 1), update.AsSpan(j + 1), pull.AsSpan(j + 1));
            }
        }
    }
}
