using System.Buffers;
using System.Numerics.Tensors;
using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Quantizers;

/// <summary>
/// Searches the parameters of each group for the least squared error weighted by the inputs' second moments: the expected squared error of
/// the output if the inputs were uncorrelated. Without statistics the weights of the errors are <c>rms(group) + |w|</c>, as in ONNX Runtime's
/// and llama.cpp's k-quants (errors of large weights count more): an unweighted search is worse than round to nearest.
/// </summary>
public sealed class WeightedSearch : IQuantizer
{
    // Channels that were never active in the sample keep a little weight, so that their codes do not become arbitrary.
    private const float Floor = 1e-4f;

    private WeightedSearch()
    {
    }

    /// <summary>The algorithm.</summary>
    public static WeightedSearch Instance { get; } = new();

    /// <inheritdoc/>
    public string Name => "weighted";

    /// <inheritdoc/>
    public string Title => "scale and zero point searched for the least error weighted by the inputs";

    /// <inheritdoc/>
    public StatisticsLevel StatisticsNeeded => StatisticsLevel.Moments;

    /// <inheritdoc/>
    public QuantizedWeight Quantize(IWeightSource weight, IWeightScheme scheme, SchemeParameters parameters, QuantizerContext context)
    {
        var moments = StatisticsCheck.SecondMoments(weight, context);
        if (moments.IsEmpty) return RowBlocks.Quantize(weight, scheme, parameters, context, FitByMagnitude);
        var importance = moments.ToArray();
        TensorPrimitives.Add(importance, Floor * TensorPrimitives.Average<float>(importance), importance);
        return RowBlocks.Quantize(weight, scheme, parameters, context, (grid, n0, count, values) => grid.FitRows(n0, count, values, importance));
    }

    private static void FitByMagnitude(IWeightGrid grid, long n0, int count, ReadOnlySpan<float> values)
    {
        // First what rows share, if the scheme shares anything; then each group with weights of its own.
        grid.FitRows(n0, count, values, []);
        var k = (int)grid.Shape.K;
        var buffer = ArrayPool<float>.Shared.Rent(grid.GroupSize);
        for (var i = 0; i < count; i++)
        {
            for (var g = 0; g < grid.GroupCount; g++)
            {
                var start = g * grid.GroupSize;
                var group = values.Slice((i * k) + start, Math.Min(grid.GroupSize, k - start));
                var importance = buffer.AsSpan(0, group.Length);
                var rms = TensorPrimitives.Norm(group) / MathF.Sqrt(group.Length);
                TensorPrimitives.Abs(group, importance);
                TensorPrimitives.Add(importance, rms, importance);
                grid.Fit(n0 + i, g, group, importance);
            }
        }

        ArrayPool<float>.Shared.Return(buffer);
    }
}
