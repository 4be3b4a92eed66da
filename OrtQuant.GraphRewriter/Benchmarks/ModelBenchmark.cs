using System.Diagnostics;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Benchmarks;

/// <summary>What to measure of whole models.</summary>
public sealed record ModelBenchmarkOptions
{
    /// <summary>Prompt length.</summary>
    public int Prompt { get; init; } = 512;

    /// <summary>New tokens.</summary>
    public int New { get; init; } = 128;

    /// <summary>Rounds.</summary>
    public int Repeat { get; init; } = 5;

    /// <summary>How to open the models.</summary>
    public SessionSettings Session { get; init; } = new();
}

/// <summary>Speed and memory of one model.</summary>
/// <param name="Name">The model.</param>
/// <param name="Prefill">Prompt tokens a second, median.</param>
/// <param name="PrefillSpread">Slowest and fastest round.</param>
/// <param name="Decode">New tokens a second, median.</param>
/// <param name="DecodeSpread">Slowest and fastest round.</param>
/// <param name="LoadSeconds">Opening the session.</param>
/// <param name="AnonymousBytes">Growth of the process's anonymous memory from before the load until after a first run; null where unknown.</param>
public sealed record ModelBenchmarkRow(
    string Name, double Prefill, (double Low, double High) PrefillSpread, double Decode, (double Low, double High) DecodeSpread,
    double LoadSeconds, long? AnonymousBytes);

/// <summary>Times whole models in one process, in alternating rounds: greedy, the same prompt, the KV cache handled the same way for all.</summary>
public static class ModelBenchmark
{
    private const int Seed = 1;

    /// <summary>Measures.</summary>
    /// <param name="models">Names and files.</param>
    /// <param name="options">What to measure.</param>
    /// <param name="progress">Told rounds of models done and in all.</param>
    /// <param name="cancellation">Ends the measurement with an exception.</param>
    /// <exception cref="RunningException">A model cannot be opened or run, or its context is too short.</exception>
    public static IReadOnlyList<ModelBenchmarkRow> Measure(
        IReadOnlyList<(string Name, string File)> models, ModelBenchmarkOptions options,
        IProgress<(int Done, int Total)>? progress = null, CancellationToken cancellation = default)
    {
        var opened = new List<OpenModel>();
        try
        {
            foreach (var (name, file) in models)
            {
                cancellation.ThrowIfCancellationRequested();
                opened.Add(OpenModel.Open(name, file, options, cancellation));
            }

            var shareBuffers = opened.All(model => model.Model.CanShareCacheBuffer);
            var total = options.Repeat * opened.Count;
            for (var round = 0; round < total; round++)
            {
                opened[round % opened.Count].Round(options, shareBuffers, cancellation);
                progress?.Report((round + 1, total));
            }

            return [.. opened.Select(model => model.Row())];
        }
        finally
        {
            opened.ForEach(model => model.Model.Dispose());
        }
    }

    // Ids of any vocabulary of that size: which they are makes no difference to the time.
    internal static long[] Prompt(LanguageModel model, int length)
    {
        var vocabulary = model.Signature.Logits!.Dimensions[^1] is > 0 and { } size ? size : model.Configuration.VocabularySize ?? 256;
        var random = new Random(Seed);
        return [.. Enumerable.Range(0, length).Select(_ => random.NextInt64(vocabulary))];
    }

    private sealed class OpenModel(string name, LanguageModel model, long[] prompt, double loadSeconds, long? anonymousBytes)
    {
        private readonly List<double> _prefill = [];
        private readonly List<double> _decode = [];

        public LanguageModel Model { get; } = model;

        public static OpenModel Open(string name, string file, ModelBenchmarkOptions options, CancellationToken cancellation)
        {
            var before = ProcessMemory.AnonymousBytes();
            var start = Stopwatch.GetTimestamp();
            var model = LanguageModel.Open(file, options.Session);
            var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            if (model.Configuration.ContextLength is { } context && context < options.Prompt + options.New)
            {
                throw new RunningException($"{name} has a context of {context}; --prompt {options.Prompt} and --new {options.New} do not fit");
            }

            var prompt = Prompt(model, options.Prompt);
            // The first run also warms up what later rounds measure.
            TextGenerator.Generate(model, prompt, new GenerationOptions { MaxNewTokens = 2 }, cancellation: cancellation);
            return new OpenModel(name, model, prompt, seconds, ProcessMemory.AnonymousBytes() - before);
        }

        public void Round(ModelBenchmarkOptions options, bool shareBuffers, CancellationToken cancellation)
        {
            var generation = new GenerationOptions { MaxNewTokens = options.New, ShareCacheBuffer = shareBuffers };
            var result = TextGenerator.Generate(Model, prompt, generation, cancellation: cancellation);
            _prefill.Add(result.PrefillTokensPerSecond);
            if (result.DecodeTokensPerSecond is { } decode)
            {
                _decode.Add(decode);
            }
        }

        public ModelBenchmarkRow Row()
        {
            var prefill = Sample.Of(_prefill);
            var decode = _decode.Count > 0 ? Sample.Of(_decode) : new Sample(double.NaN, double.NaN, double.NaN, 0);
            return new ModelBenchmarkRow(
                name, prefill.Median, (prefill.Min, prefill.Max), decode.Median, (decode.Min, decode.Max), loadSeconds, anonymousBytes);
        }
    }
}
