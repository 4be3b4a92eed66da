using System.Numerics.Tensors;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Comparison;

/// <summary>Accumulates how far the next-token distributions of a model are from those of a reference.</summary>
internal sealed class DistributionMeter
{
    private double _divergenceSum;
    private long _agreements;

    /// <summary>Positions compared.</summary>
    public long Tokens { get; private set; }

    /// <summary>Mean Kullback-Leibler divergence KL(reference || model), nats a token.</summary>
    public double DivergenceMean => _divergenceSum / Tokens;

    /// <summary>Largest divergence of a token.</summary>
    public double DivergenceMax { get; private set; }

    /// <summary>Share of positions where both find the same id most likely.</summary>
    public double Agreement => (double)_agreements / Tokens;

    /// <summary>Differences of the scores themselves.</summary>
    public DifferenceMeter Scores { get; } = new();

    /// <summary>Takes in the scores of a run, position by position.</summary>
    /// <exception cref="RunningException">The two have different shapes.</exception>
    public void Add(Logits reference, Logits model)
    {
        if (reference.Vocabulary != model.Vocabulary || reference.Rows != model.Rows)
        {
            throw new RunningException(
                $"logits have shape [{model.Rows}, {model.Vocabulary}], those of the reference [{reference.Rows}, {reference.Vocabulary}]");
        }

        var rows = new (double Divergence, bool Agrees, DifferenceMeter Scores)[reference.Rows];
        Parallel.For(0, rows.Length, () => new float[4 * reference.Vocabulary], (row, _, buffer) =>
        {
            rows[row] = Row(reference, model, row, buffer);
            return buffer;
        }, _ => { });

        // In the order of the rows, so that results do not depend on the number of threads.
        foreach (var (divergence, agrees, scores) in rows)
        {
            Tokens++;
            _divergenceSum += divergence;
            _agreements += agrees ? 1 : 0;
            DivergenceMax = Math.Max(DivergenceMax, divergence);
            Scores.Add(scores);
        }
    }

    private static (double Divergence, bool Agrees, DifferenceMeter Scores) Row(Logits reference, Logits model, int row, float[] buffer)
    {
        var size = reference.Vocabulary;
        var p = buffer.AsSpan(0, size);
        var q = buffer.AsSpan(size, size);
        var scratch1 = buffer.AsSpan(2 * size, size);
        var scratch2 = buffer.AsSpan(3 * size, size);
        reference.ReadRow(row, p);
        model.ReadRow(row, q);
        var scores = new DifferenceMeter();
        scores.Add(p, q);
        var divergence = LogProbabilities.Divergence(
            p, LogProbabilities.LogSumExp(p, scratch1), q, LogProbabilities.LogSumExp(q, scratch1), scratch1, scratch2);
        return (divergence, TensorPrimitives.IndexOfMax<float>(p) == TensorPrimitives.IndexOfMax<float>(q), scores);
    }
}
