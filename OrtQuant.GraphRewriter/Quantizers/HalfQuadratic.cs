using System.Buffers;
using System.Numerics.Tensors;
using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Quantizers;

/// <summary>
/// HQQ (half-quadratic quantization, Badri and Shaji 2023): the scale of a group covers its range, and the zero point is moved for the least
/// <c>sum |w - w'|^p</c>, p = 0.7, which lets a few large errors be: each error is split into one that is shrunk towards zero and one whose mean the zero point
/// takes. In float32 and for each group by itself, so that the result depends on nothing else. Needs no data. Made for float zero points; of a grid
/// with integer ones it takes the nearest where that is better, without zero points it is round to nearest.
/// </summary>
public sealed class HalfQuadratic : IQuantizer
{
    private const float Power = 0.7f;
    private const float FirstBeta = 10f;
    private const float BetaGrowth = 1.01f;
    private const int Iterations = 20;

    private HalfQuadratic()
    {
    }

    /// <summary>The algorithm.</summary>
    public static HalfQuadratic Instance { get; } = new();

    /// <inheritdoc/>
    public string Name => "hqq";

    /// <inheritdoc/>
    public string Title => "zero points moved for the least sum of |error|^0.7 (HQQ), without data";

    /// <inheritdoc/>
    public StatisticsLevel StatisticsNeeded => StatisticsLevel.None;

    /// <inheritdoc/>
    public QuantizedWeight Quantize(IWeightSource weight, IWeightScheme scheme, SchemeParameters parameters, QuantizerContext context) =>
        RowBlocks.Quantize(weight, scheme, parameters, context, Fit);

    private static void Fit(IWeightGrid grid, long n0, int count, ReadOnlySpan<float> values)
    {
        grid.FitRows(n0, count, values, []);
        if (grid is not IAffineGrid affine) return;
        var k = (int)grid.Shape.K;
        var buffer = ArrayPool<float>.Shared.Rent(3 * grid.GroupSize);
        for (var i = 0; i < count; i++)
        {
            for (var g = 0; g < grid.GroupCount; g++)
            {
                var start = g * grid.GroupSize;
                var group = values.Slice((i * k) + start, Math.Min(grid.GroupSize, k - start));
                FitGroup(affine, n0 + i, g, group, buffer);
            }
        }

        ArrayPool<float>.Shared.Return(buffer);
    }

    private static void FitGroup(IAffineGrid grid, long n, int g, ReadOnlySpan<float> values, float[] buffer)
    {
        var (scale, best) = grid.GetGroup(n, g);
        if (scale == 0) return;
        var length = values.Length;
        var error = buffer.AsSpan(0, length);
        var shrunk = buffer.AsSpan(length, length);
        var powers = buffer.AsSpan(2 * length, length);

        // Moves in small steps, of which a stored integer takes note when they add up.
        var zeroPoint = best;
        var least = float.PositiveInfinity;
        var beta = FirstBeta;
        for (var iteration = 0; ; iteration++)
        {
            grid.SetGroup(n, g, scale, zeroPoint);
            var stored = grid.GetGroup(n, g).ZeroPoint;
            grid.Round(n, g * grid.GroupSize, values, error);
            TensorPrimitives.Subtract(values, error, error);
            TensorPrimitives.Abs(error, powers);
            TensorPrimitives.Add(powers, float.Epsilon, powers);
            TensorPrimitives.Pow(powers, Power - 1, shrunk);
            var objective = TensorPrimitives.Dot<float>(powers, shrunk);
            if (objective < least) (least, best) = (objective, stored);
            if (iteration == Iterations) break;

            // |e| - |e|^(p-1) / beta, not below zero, with the sign of e: what is left as an error; the zero point takes the mean of the rest.
            TensorPrimitives.Multiply(shrunk, 1 / beta, shrunk);
            TensorPrimitives.Subtract(powers, shrunk, shrunk);
            TensorPrimitives.Max(shrunk, 0f, shrunk);
            TensorPrimitives.CopySign<float>(shrunk, error, shrunk);
            TensorPrimitives.Subtract<float>(error, shrunk, shrunk);
            var shift = TensorPrimitives.Average<float>(shrunk) / scale;
            if (shift == 0 || !float.IsFinite(shift)) break;
            zeroPoint -= shift;
            beta *= BetaGrowth;
        }

        grid.SetGroup(n, g, scale, best);
    }
}
