using System.Numerics.Tensors;

namespace OrtQuant.GraphRewriter.Comparison;

/// <summary>Logarithms of probabilities from scores, without overflow: every score is taken relative to the highest.</summary>
internal static class LogProbabilities
{
    // Sums of float32 stay exact enough over this many terms; the pieces are added in double precision.
    private const int Piece = 512;

    /// <summary>log(sum of exp(scores)).</summary>
    /// <param name="scores">One number an id.</param>
    /// <param name="scratch">At least as long.</param>
    public static double LogSumExp(ReadOnlySpan<float> scores, Span<float> scratch)
    {
        var max = TensorPrimitives.Max(scores);
        if (!float.IsFinite(max))
        {
            return max;
        }

        scratch = scratch[..scores.Length];
        TensorPrimitives.Subtract(scores, max, scratch);
        TensorPrimitives.Exp(scratch, scratch);
        return max + Math.Log(Sum(scratch));
    }

    /// <summary>Kullback-Leibler divergence of two distributions, in nats: sum of p * (log p - log q), never below 0.</summary>
    /// <param name="p">Scores of the reference.</param>
    /// <param name="logSumP">Their <see cref="LogSumExp"/>.</param>
    /// <param name="q">Scores of the other.</param>
    /// <param name="logSumQ">Their <see cref="LogSumExp"/>.</param>
    /// <param name="scratchP">At least as long as the scores.</param>
    /// <param name="scratchD">At least as long as the scores.</param>
    public static double Divergence(
        ReadOnlySpan<float> p, double logSumP, ReadOnlySpan<float> q, double logSumQ, Span<float> scratchP, Span<float> scratchD)
    {
        scratchP = scratchP[..p.Length];
        scratchD = scratchD[..p.Length];
        TensorPrimitives.Subtract(p, (float)logSumP, scratchP);
        TensorPrimitives.Exp(scratchP, scratchP);
        TensorPrimitives.Subtract(p, q, scratchD);
        TensorPrimitives.Subtract(scratchD, (float)(logSumP - logSumQ), scratchD);
        TensorPrimitives.Multiply(scratchP, scratchD, scratchD);
        return Math.Max(0, Sum(scratchD));
    }

    /// <summary>Sum in double precision of sums over short pieces.</summary>
    public static double Sum(ReadOnlySpan<float> values)
    {
        var sum = 0.0;
        for (; values.Length > Piece; values = values[Piece..])
        {
            sum += TensorPrimitives.Sum(values[..Piece]);
        }

        return sum + TensorPrimitives.Sum(values);
    }
}
