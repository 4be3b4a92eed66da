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

    /// <summary>The diagonal of the Gram matrix <c>[K]</c>; empty if there is no matrix or it is all zero.</summary>
    /// <exception cref="OrtQuantException">A matrix is not K x K or has a number that is not finite; the message names the weight.</exception>
    public static float[] Diagonal(IWeightSource weight, QuantizerContext context)
    {
        var k = (int)weight.Shape.K;
        if (context.Statistics is not { Gram.IsEmpty: false } statistics) return [];
        CheckSquare(statistics.Gram, "Gram", weight, context);
        if (!statistics.CrossGram.IsEmpty) CheckSquare(statistics.CrossGram, "cross Gram", weight, context);
        var diagonal = new float[k];
        for (var i = 0; i < k; i++)
        {
            diagonal[i] = statistics.Gram.Span[(i * k) + i];
            if (diagonal[i] < 0)
            {
                throw new OrtQuantException($"weight '{context.WeightName}' {weight.Shape}: element {i} of the Gram matrix's diagonal is {diagonal[i]}; it must not be negative");
            }
        }

        return TensorPrimitives.Max<float>(diagonal) > 0 ? diagonal : [];
    }

    private static void CheckSquare(ReadOnlyMemory<float> matrix, string name, IWeightSource weight, QuantizerContext context)
    {
        var k = weight.Shape.K;
        if (matrix.Length != k * k)
        {
            throw new OrtQuantException($"weight '{context.WeightName}' {weight.Shape}: its {name} matrix has {matrix.Length} elements; it must have {k * k}");
        }

        // NaN and infinities survive it.
        var largest = TensorPrimitives.MaxMagnitude(matrix.Span);
        if (!float.IsFinite(largest))
        {
            throw new OrtQuantException($"weight '{context.WeightName}' {weight.Shape}: its {name} matrix has an element {largest}; all must be finite");
        }
    }
}
