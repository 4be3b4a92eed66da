using System.Diagnostics;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Comparison;

/// <summary>How well a model predicts a text.</summary>
/// <param name="Value">exp(mean negative log-probability of the scored ids).</param>
/// <param name="Tokens">Scored ids: all but the first of each sequence.</param>
/// <param name="Seconds">Wall-clock time.</param>
public sealed record PerplexityResult(double Value, long Tokens, double Seconds);

/// <summary>Measures perplexity over independent sequences; the first id of a sequence is context only.</summary>
public static class Perplexity
{
    /// <summary>Measures.</summary>
    /// <param name="model">The model.</param>
    /// <param name="sequences">Ids; those outside the model's vocabulary are an error.</param>
    /// <param name="progress">Told sequences done and sequences in all.</param>
    /// <param name="cancellation">Ends the measurement with an exception.</param>
    /// <exception cref="RunningException">Nothing to score, or an id is outside the vocabulary.</exception>
    public static PerplexityResult Measure(
        LanguageModel model, IReadOnlyList<long[]> sequences, IProgress<(int Done, int Total)>? progress = null, CancellationToken cancellation = default)
    {
        var start = Stopwatch.GetTimestamp();
        var sum = 0.0;
        var tokens = 0L;
        var done = 0;
        foreach (var (ids, batch) in SequenceBatches.Of(sequences, model))
        {
            using var logits = model.Score(ids, batch, cancellation);
            var losses = Losses(logits, ids, batch);
            sum += losses.Sum();
            tokens += losses.Length - batch;
            done += batch;
            progress?.Report((done, sequences.Count));
        }

        return tokens > 0
            ? new PerplexityResult(Math.Exp(sum / tokens), tokens, Stopwatch.GetElapsedTime(start).TotalSeconds)
            : throw new RunningException("there is nothing to score: at least one sequence of two ids is needed");
    }

    /// <summary>Negative log-probability of each next id, in nats; 0 at the last position of a sequence, which has none.</summary>
    /// <param name="logits">Scores [batch * length, vocabulary].</param>
    /// <param name="ids">Ids [batch, length].</param>
    /// <param name="batch">Sequences.</param>
    internal static double[] Losses(Logits logits, long[] ids, int batch)
    {
        var length = ids.Length / batch;
        var losses = new double[ids.Length];
        RequireVocabulary(ids, logits.Vocabulary);
        if (logits.Rows != ids.Length)
        {
            throw new RunningException($"the model returns scores for {logits.Rows} of {ids.Length} positions; all are needed");
        }

        Parallel.For(0, ids.Length, () => new float[2 * logits.Vocabulary], (row, _, buffer) =>
        {
            if ((row + 1) % length != 0)
            {
                var scores = buffer.AsSpan(0, logits.Vocabulary);
                logits.ReadRow(row, scores);
                losses[row] = LogProbabilities.LogSumExp(scores, buffer.AsSpan(logits.Vocabulary)) - scores[(int)ids[row + 1]];
            }

            return buffer;
        }, _ => { });
        return losses;
    }

    /// <summary>Checks that all ids are below the vocabulary's size.</summary>
    /// <exception cref="RunningException">One is not.</exception>
    internal static void RequireVocabulary(long[] ids, int vocabulary)
    {
        if (Array.Find(ids, id => id >= vocabulary) is var id and > 0)
        {
            throw new RunningException($"token id {id} is outside the model's vocabulary of {vocabulary}; is this the right tokenizer?");
        }
    }
}
