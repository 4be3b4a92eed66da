using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Comparison;

/// <summary>
/// Text that a language model writes itself, to measure a loss on where the user gives none: on random ids a model is compared where
/// it is never used.
/// </summary>
internal static class OwnText
{
    private const int Sequences = 3;

    /// <summary>Ids of a sequence, apart from the first.</summary>
    internal const int NewTokens = 64;

    /// <summary>Samples a few short sequences at temperature 1: the same ones every time.</summary>
    /// <param name="modelFile">The model.</param>
    /// <param name="settings">How to open it.</param>
    /// <param name="seed">Seed of the draws.</param>
    /// <param name="cancellation">Ends the work with an exception.</param>
    /// <param name="sequences">How many.</param>
    /// <param name="progress">Told sequences done and in all.</param>
    /// <param name="beside">The file beside which tokenizer and configuration are; null: <paramref name="modelFile"/>.</param>
    /// <returns>Null where the model is no language model.</returns>
    internal static IReadOnlyList<long[]>? Sample(
        string modelFile, SessionSettings settings, int seed, CancellationToken cancellation, int sequences = Sequences,
        IProgress<(int Done, int Total)>? progress = null, string? beside = null)
    {
        using var model = TryOpen(modelFile, settings, ModelConfiguration.Read(beside ?? modelFile));
        if (model is null || model.Signature.Cache.Count == 0) return null;
        var begin = BeginOfSequence(beside ?? modelFile);
        var vocabulary = model.Signature.Logits!.Dimensions[^1];
        if (begin is null && vocabulary <= 0) return null;
        var random = new Random(seed);
        return [.. Enumerable.Range(0, sequences).Select(i =>
        {
            progress?.Report((i, sequences));
            long[] prompt = [begin ?? random.NextInt64(vocabulary)];
            var options = new GenerationOptions { MaxNewTokens = NewTokens, Temperature = 1, Seed = seed + i };
            return (long[])[.. prompt, .. TextGenerator.Generate(model, prompt, options, null, cancellation).Tokens];
        })];
    }

    // Whatever else keeps a model from being opened is said by the comparison that follows.
    private static LanguageModel? TryOpen(string modelFile, SessionSettings settings, ModelConfiguration configuration)
    {
        try
        {
            return LanguageModel.Open(modelFile, settings, configuration);
        }
        catch (RunningException)
        {
            return null;
        }
    }

    private static long? BeginOfSequence(string modelFile)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(modelFile))!;
        return File.Exists(Path.Combine(folder, "tokenizer.json")) ? TokenizerFile.Read(folder).BeginOfSequence : null;
    }
}
