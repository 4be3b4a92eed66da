using System.Numerics.Tensors;
using OrtQuant.GraphRewriter.Weights;

namespace OrtQuant.GraphRewriter.Quantizers;

/// <summary>Takes statistics apart for an algorithm, after checking that they are those of the weight.</summary>
internal static class StatisticsCheck
{
    /// <summary>The second moments <c>[K]</c>; empty if there are none or all are zero, which says nothing.</summary>
    /// <exception cref="OrtQuantException">Their number is not K, or one is negative, NaN or infinite; the message names the weight.</exception>
    public static ReadOnlyMemory<float> SecondMoments(IWeightSource weight, QuantizerContext context)
    {
        var moments = context.Statistics?.SecondMoments ?? default;
        if (moments.IsEmpty) return moments;
        if (moments.Length != weight.Shape.K)
        {
            throw new OrtQuantException($"weight '{context.WeightName}' {weight.Shape}: {moments.Length} second moments were given; there must be {weight.Shape.K}");
        }

        var span = moments.Span;
        for (var k = 0; k < span.Length; k++)
        {
            if (!(span[k] >= 0) || float.IsInfinity(span[k]))
            {
                throw new OrtQuantException($"weight '{context.WeightName}' {weight.Shape}: second moment {k} is {span[k]}; it must be finite and not negative");
            }
        }

        return TensorPrimitives.Max(span) > 0 ? moments : default;
    }
}
