using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Calibration;

/// <summary>
/// Text that a model writes itself, to be calibrated on where the user gives none: sequences that begin with random tokens, all written
/// side by side. An 8-bit copy of the model writes it, which is as good and several times as fast as a half-precision graph.
/// </summary>
internal static class OwnTextWriter
{
    /// <summary>Writes text: the same for the same model and options.</summary>
    /// <param name="modelFile">The model.</param>
    /// <param name="options">How much.</param>
    /// <param name="rewrite">Threads, progress, cancellation.</param>
    /// <param name="folder">Where the copy stands while it is needed.</param>
    /// <exception cref="RunningException">The model is no language model with a KV cache.</exception>
    internal static IReadOnlyList<long[]> Write(string modelFile, OwnTextOptions options, RewriteOptions rewrite, string folder)
    {
        rewrite.Progress?.Report(new RewriteProgress("writing text", 0, options.Length));
        using var place = OutputFolder.Begin(Path.Combine(folder, Guid.NewGuid().ToString("N")));
        // A cache that grows with every token is what an arena, which grows by doubling, is worst at.
        var settings = new SessionSettings { Threads = rewrite.Threads, UseArena = false };
        using var model = LanguageModel.Open(Copy(modelFile, place.Path, rewrite), settings, ModelConfiguration.Read(modelFile));
        if (model.Signature.Cache.Count == 0)
        {
            throw new RunningException($"{Path.GetFileName(modelFile)} has no KV cache, so it cannot write text to be calibrated on; give one");
        }

        var random = new Random(options.Seed);
        var vocabulary = model.Signature.Logits!.Dimensions[^1] is > 0 and { } size ? size
            : model.Configuration.VocabularySize ?? throw new RunningException($"{Path.GetFileName(modelFile)} does not say how many tokens there are, so it cannot write text to be calibrated on; give one");
        var batch = model.Signature.InputIds!.Dimensions[0] is > 0 and { } fixedBatch ? (int)fixedBatch : options.Sequences;
        var length = (int)Math.Min(options.Length, model.Configuration.ContextLength ?? int.MaxValue);
        var sequences = new List<long[]>();
        for (var first = 0; first < options.Sequences; first += batch)
        {
            sequences.AddRange(Write(model, [.. Enumerable.Range(0, batch).Select(_ => random.NextInt64(vocabulary))], length, first, options, rewrite));
        }

        rewrite.Progress?.Report(new RewriteProgress("writing text", length, length));
        return sequences;
    }

    private static long[][] Write(LanguageModel model, long[] firstTokens, int length, int number, OwnTextOptions options, RewriteOptions rewrite)
    {
        var sequences = firstTokens.Select(token => new long[length]).ToArray();
        var samplers = firstTokens.Select((_, i) => new Sampler(options.Temperature, HashCode(options.Seed, number + i))).ToArray();
        using var state = model.Start(sequences.Length, length);
        var next = firstTokens;
        for (var at = 0; at < length; at++)
        {
            for (var i = 0; i < sequences.Length; i++) sequences[i][at] = next[i];
            if (at == length - 1) break;
            using var logits = state.Append(next, rewrite.CancellationToken);
            var drawn = new long[next.Length];
            Parallel.For(0, drawn.Length, new ParallelOptions { MaxDegreeOfParallelism = rewrite.Threads > 0 ? rewrite.Threads : -1 }, i =>
            {
                var scores = new float[logits.Vocabulary];
                logits.ReadRow(i, scores);
                drawn[i] = samplers[i].Next(scores);
            });
            next = drawn;
            rewrite.Progress?.Report(new RewriteProgress("writing text", at + 1, length));
        }

        return sequences;
    }

    // Seeds of neighbouring sequences must not be neighbours: two runs with seeds 1 and 2 would share all but one.
    private static int HashCode(int seed, int sequence) => unchecked((seed * 1_000_003) ^ (sequence * 7919));

    /// <summary>The model in 8 bits with a float32 cache (attention over a float16 one is slow), or the model itself where nothing can be packed.</summary>
    private static string Copy(string modelFile, string folder, RewriteOptions rewrite)
    {
        using var model = OnnxModel.Load(modelFile);
        var plan = QuantizationPlan.Create(model, new PlanOptions { Bits = 8, AccuracyLevel = 4, Io = InterfaceType.Float32 }, rewrite.CancellationToken);
        if (plan.Weights.Count == 0) return modelFile;
        return ModelRewriter.Rewrite(
            model, plan, Path.Combine(folder, "model.onnx"), new RewriteOptions { Threads = rewrite.Threads, CancellationToken = rewrite.CancellationToken }).Path;
    }
}
