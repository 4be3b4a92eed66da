using System.Numerics.Tensors;

namespace OrtQuant.Schemes.Group;

/// <summary>
/// Searches scale and zero point of one group for the least weighted squared error <c>sum_k h_k (w_k - w'_k)^2</c>: shrunken
/// ranges as starts, each refined by least squares. Every candidate is rounded to its stored form before it is judged.
/// </summary>
internal static class GroupSearch
{
    private const int Starts = 21;
    private const float SmallestShrink = 0.5f;
    private const int Refits = 2;

    /// <summary>The best parameters found; never worse in that error than <see cref="GroupFit.Range"/>.</summary>
    public static (float Scale, float ZeroPoint) Weighted(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, GroupParameters parameters)
    {
        var best = GroupFit.Range(values, parameters);
        if (best.Scale == 0)
        {
            return best;
        }

        var maxCode = (1 << parameters.Bits) - 1;
        using var work = new Workspace(values.Length);
        var (lowest, highest) = (TensorPrimitives.Min<float>(values), TensorPrimitives.Max<float>(values));
        var leastError = work.Evaluate(values, importance, best, maxCode);
        for (var start = 0; start < Starts; start++)
        {
            var shrink = 1f - ((1f - SmallestShrink) * start / (Starts - 1));
            var candidate = GroupFit.FromRange(lowest * shrink, highest * shrink, parameters);
            for (var refit = 0; refit <= Refits; refit++)
            {
                var error = work.Evaluate(values, importance, candidate, maxCode);
                if (error < leastError)
                {
                    (best, leastError) = (candidate, error);
                }

                var scale = GroupFit.Store(work.LeastSquaresScale(values, importance, candidate.ZeroPoint), parameters.ScaleType);
                if (scale == candidate.Scale || scale == 0 || !float.IsFinite(scale))
                {
                    break;
                }

                candidate.Scale = scale;
            }
        }

        return best;
    }

    /// <summary>Buffers for one group.</summary>
    private readonly ref struct Workspace(int length)
    {
        private readonly byte[] _codes = System.Buffers.ArrayPool<byte>.Shared.Rent(length);
        private readonly float[] _levels = System.Buffers.ArrayPool<float>.Shared.Rent(length);
        private readonly int _length = length;

        /// <summary>The weighted squared error of a candidate; leaves its codes for <see cref="LeastSquaresScale"/>.</summary>
        public double Evaluate(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, (float Scale, float ZeroPoint) candidate, int maxCode)
        {
            var difference = _levels.AsSpan(0, _length);
            GroupRound.Round(values, candidate.Scale, candidate.ZeroPoint, maxCode, _codes.AsSpan(0, _length));
            GroupRound.Dequantize(_codes.AsSpan(0, _length), candidate.Scale, candidate.ZeroPoint, difference);
            TensorPrimitives.Subtract(values, difference, difference);
            TensorPrimitives.Multiply(difference, difference, difference);
            return TensorPrimitives.Dot(difference, importance);
        }

        /// <summary>The scale that minimizes the error for the codes of the last evaluation.</summary>
        public double LeastSquaresScale(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, float zeroPoint)
        {
            var level = _levels.AsSpan(0, _length);
            GroupRound.Dequantize(_codes.AsSpan(0, _length), 1f, zeroPoint, level);
            double numerator = 0, denominator = 0;
            for (var i = 0; i < level.Length; i++)
            {
                numerator += (double)importance[i] * values[i] * level[i];
                denominator += (double)importance[i] * level[i] * level[i];
            }

            return denominator > 0 ? numerator / denominator : 0;
        }

        public void Dispose()
        {
            System.Buffers.ArrayPool<byte>.Shared.Return(_codes);
            System.Buffers.ArrayPool<float>.Shared.Return(_levels);
        }
    }
}
