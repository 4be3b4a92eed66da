using System.Globalization;
using OrtQuant.GraphRewriter.Benchmarks;

namespace OrtQuant.GraphRewriter.Evaluation;

/// <summary>What an evaluation was measured on, and what its figures mean: what every report says beside the numbers.</summary>
/// <param name="Text">The text: a file, or the model's own.</param>
/// <param name="Machine">The machine.</param>
/// <param name="Threads">Threads of a session.</param>
/// <param name="Speed">How the speed was measured; null where it was not.</param>
internal sealed record EvaluationDescription(string Text, Machine Machine, int Threads, ModelBenchmarkOptions? Speed)
{
    /// <summary>What was run, on what, where: a sentence each.</summary>
    internal IEnumerable<string> Sentences(EvaluationResult result)
    {
        yield return string.Create(
            CultureInfo.InvariantCulture,
            $"{result.ScoredTokens} ids scored in {result.Sequences} independent sequences of {Text}; KL and top-1 over {result.Positions} positions.");
        if (Speed is { } speed)
        {
            yield return $"Speed: greedy, prompt of {speed.Prompt}, {speed.New} new tokens, medians of {speed.Repeat} rounds in which the models take turns.";
        }

        yield return $"{Machine.Processor}, {Threads} {(Threads == 1 ? "thread" : "threads")}, ONNX Runtime {Machine.OnnxRuntime}, {Machine.OperatingSystem}, {Machine.Date}.";
    }

    /// <summary>What the columns mean.</summary>
    internal const string Legend =
        "loss: mean difference of the log loss to the reference in nats, of the same ids, with its standard error (exp of it is the ratio of the perplexities); " +
        "KL: divergence KL(reference || model) of the next-token distribution in nats, mean, percentiles and maximum over positions; " +
        "same top-1: positions where both find the same id most likely; MB: graph and external data (10^6 bytes); " +
        "bits/weight: stored bits of all matrices, scales and zero points included, per value; in layers: without head and embeddings; " +
        "anon MB: anonymous memory after load and a first run, without what is mapped from the file.";
}
