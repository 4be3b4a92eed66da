using System.Numerics.Tensors;

namespace OrtQuant.Schemes.Group;

/// <summary>
/// Searches scale and zero point of one group for the least weighted squared error <c>sum_k h_k (w_k - w'_k)^2</c>: shrunken
/// ranges as starts, each refined by least squares over scale and zero point for the codes that it leads to. Every candidate is
/// rounded to its stored form before it is judged.
/// </summary>
internal static class GroupSearch
{
    private const int Starts = 13;
    private const float SmallestShrink = 0.52f;
    private const int Refits = 3;

    /// <summary>The best parameters found; never worse in that error than <see cref="GroupFit.Range"/>.</summary>
    public static (float Scale, float ZeroPoint) Weighted(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, GroupParameters parameters)
    {
        var best = GroupFit.Range(values, parameters);
        if (best.Scale == 0)
        {
            return best;
        }

        var maxCode = (1 << parameters.Bits) - 1;
        var (lowest, highest) = (TensorPrimitives.Min<float>(values), TensorPrimitives.Max<float>(values));
        var leastError = GroupMoments.Of(values, importance, best, maxCode).Error;
        for (var start = 0; start < Starts; start++)
        {
            var shrink = 1f - ((1f - SmallestShrink) * start / (Starts - 1));
            var candidate = GroupFit.FromRange(lowest * shrink, highest * shrink, parameters);
            for (var refit = 0; refit <= Refits; refit++)
            {
                var moments = GroupMoments.Of(values, importance, candidate, maxCode);
                if (moments.Error < leastError)
                {
                    (best, leastError) = (candidate, moments.Error);
                }

                var refined = Refine(moments, candidate, maxCode, parameters);
                if (refined == candidate || refined.Scale == 0 || !float.IsFinite(refined.Scale) || !float.IsFinite(refined.ZeroPoint))
                {
                    break;
                }

                candidate = refined;
            }
        }

        return best;
    }

    /// <summary>Least squares for fixed codes: the zero point first (where it is free) and rounded, then the scale for that zero point.</summary>
    private static (float Scale, float ZeroPoint) Refine(
        in GroupMoments moments, (float Scale, float ZeroPoint) candidate, int maxCode, GroupParameters parameters)
    {
        var zeroPoint = candidate.ZeroPoint;
        if (parameters.ZeroPoint != ZeroPointKind.None && moments.FreeZeroPoint() is { } free)
        {
            zeroPoint = parameters.ZeroPoint == ZeroPointKind.Integer
                ? GroupFit.IntegerZeroPoint((float)free, maxCode)
                : GroupFit.Store(free, parameters.ScaleType);
        }

        return (GroupFit.Store(moments.Scale(zeroPoint), parameters.ScaleType), zeroPoint);
    }
}
