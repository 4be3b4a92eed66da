using System.Numerics.Tensors;
using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Evaluation;

/// <summary>What the reference predicts for one batch, worked out once for all models: the scores, and of each position normalizer and best id.</summary>
internal sealed class ReferenceBatch : IDisposable
{
    private readonly Logits _logits;
    private readonly double[] _logSums;
    private readonly int[] _best;

    /// <summary>Takes over the scores of a batch.</summary>
    /// <param name="logits">Scores [batch * length, vocabulary].</param>
    /// <param name="ids">Ids [batch, length].</param>
    /// <param name="batch">Sequences.</param>
    /// <exception cref="RunningException">An id is outside the vocabulary, or positions have no scores.</exception>
    internal ReferenceBatch(Logits logits, long[] ids, int batch)
    {
        _logits = logits;
        (Ids, Length) = (ids, ids.Length / batch);
        Perplexity.RequireVocabulary(ids, logits.Vocabulary);
        if (logits.Rows != ids.Length)
        {
            throw new RunningException($"the reference returns scores for {logits.Rows} of {ids.Length} positions; all are needed");
        }

        (_logSums, _best, Losses) = (new double[ids.Length], new int[ids.Length], new double[ids.Length]);
        Parallel.For(0, ids.Length, () => new float[2 * logits.Vocabulary], (row, _, buffer) =>
        {
            var scores = buffer.AsSpan(0, logits.Vocabulary);
            logits.ReadRow(row, scores);
            _logSums[row] = LogProbabilities.LogSumExp(scores, buffer.AsSpan(logits.Vocabulary));
            _best[row] = TensorPrimitives.IndexOfMax<float>(scores);
            Losses[row] = IsScored(row) ? _logSums[row] - scores[Next(row)] : 0;
            return buffer;
        }, _ => { });
    }

    /// <summary>Ids [batch, length].</summary>
    internal long[] Ids { get; }

    /// <summary>Ids of a sequence.</summary>
    internal int Length { get; }

    /// <summary>Negative log-probability of the next id by row; 0 where there is none.</summary>
    internal double[] Losses { get; }

    /// <summary>Whether an id follows in the sequence.</summary>
    internal bool IsScored(int row) => (row + 1) % Length != 0;

    /// <summary>Compares a model's scores of the same batch.</summary>
    /// <returns>For each row: divergence, whether the best id is the same, and the loss of the next id.</returns>
    /// <exception cref="RunningException">The shapes differ.</exception>
    internal (double Divergence, bool Agrees, double Loss)[] Compare(Logits model)
    {
        if (model.Vocabulary != _logits.Vocabulary || model.Rows != _logits.Rows)
        {
            throw new RunningException(
                $"logits have shape [{model.Rows}, {model.Vocabulary}], those of the reference [{_logits.Rows}, {_logits.Vocabulary}]");
        }

        var rows = new (double, bool, double)[Ids.Length];
        Parallel.For(0, rows.Length, () => new float[4 * model.Vocabulary], (row, _, buffer) =>
        {
            rows[row] = CompareRow(model, row, buffer);
            return buffer;
        }, _ => { });
        return rows;
    }

    /// <inheritdoc/>
    public void Dispose() => _logits.Dispose();

    private (double Divergence, bool Agrees, double Loss) CompareRow(Logits model, int row, float[] buffer)
    {
        var size = model.Vocabulary;
        var p = buffer.AsSpan(0, size);
        var q = buffer.AsSpan(size, size);
        var scratch1 = buffer.AsSpan(2 * size, size);
        var scratch2 = buffer.AsSpan(3 * size, size);
        _logits.ReadRow(row, p);
        model.ReadRow(row, q);
        var logSum = LogProbabilities.LogSumExp(q, scratch1);
        var divergence = LogProbabilities.Divergence(p, _logSums[row], q, logSum, scratch1, scratch2);
        return (divergence, TensorPrimitives.IndexOfMax<float>(q) == _best[row], IsScored(row) ? logSum - q[Next(row)] : 0);
    }

    private int Next(int row) => (int)Ids[row + 1];
}
