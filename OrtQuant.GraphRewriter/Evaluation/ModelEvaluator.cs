using System.Diagnostics;
using OrtQuant.GraphRewriter.Benchmarks;
using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Matching;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Evaluation;

/// <summary>
/// Measures several models side by side against a reference: what they predict, how large they are, how fast they run. Batch by batch
/// through all models, so that the scores of one batch of the reference and of one model are all that is held.
/// </summary>
public static class ModelEvaluator
{
    /// <summary>Evaluates.</summary>
    /// <param name="reference">What the models are compared with: its inputs and outputs by name are theirs.</param>
    /// <param name="models">The models.</param>
    /// <param name="options">What to evaluate on.</param>
    /// <param name="progress">Told units done and in all: a unit is a sequence through all models, then a round of the speed measurement.</param>
    /// <param name="cancellation">Ends the evaluation with an exception.</param>
    /// <exception cref="RunningException">A model cannot be opened or run, vocabularies differ, or there is nothing to score.</exception>
    public static EvaluationResult Evaluate(
        NamedModel reference, IReadOnlyList<NamedModel> models, EvaluationOptions options,
        IProgress<(string Stage, int Done, int Total)>? progress = null, CancellationToken cancellation = default)
    {
        if (!options.Sequences.Any(sequence => sequence.Length > 1))
        {
            throw new RunningException("there is nothing to score: at least one sequence of two ids is needed");
        }

        var start = Stopwatch.GetTimestamp();
        var named = models.Prepend(reference).ToList();
        var rows = Quality(named, options, progress, cancellation);
        if (options.Speed is { } speed) rows = Speed(named, rows, speed, progress, cancellation);
        return new EvaluationResult(
            rows[0],
            rows[1..],
            options.Sequences.Count,
            options.Sequences.Sum(sequence => (long)sequence.Length),
            options.Sequences.Sum(sequence => (long)sequence.Length - 1),
            Stopwatch.GetElapsedTime(start).TotalSeconds);
    }

    private static EvaluatedModel[] Quality(
        IReadOnlyList<NamedModel> named, EvaluationOptions options, IProgress<(string, int, int)>? progress, CancellationToken cancellation)
    {
        const string Stage = "scoring";
        var opened = new List<OpenModel>();
        try
        {
            // Sizes that a graph does not give are in the files beside the reference, which a rewritten file need not have.
            var configuration = ModelConfiguration.Read(named[0].File);
            foreach (var model in named)
            {
                cancellation.ThrowIfCancellationRequested();
                progress?.Report(($"opening {model.Name}", 0, 0));
                opened.Add(OpenModel.Open(model, options, configuration, cancellation));
            }

            var (first, others) = (opened[0], opened[1..]);
            var (loss, scored, done) = (0.0, 0L, 0);
            progress?.Report((Stage, 0, options.Sequences.Count));
            foreach (var (ids, batch) in SequenceBatches.Of(options.Sequences, [.. opened.Select(model => model.Model)]))
            {
                using var expected = new ReferenceBatch(first.Model.Score(ids, batch, cancellation), ids, batch);
                loss += expected.Losses.Sum();
                scored += ids.Length - batch;
                foreach (var other in others)
                {
                    using var actual = other.Model.Score(ids, batch, cancellation);
                    other.Meter.Add(expected, actual);
                }

                done += batch;
                progress?.Report((Stage, done, options.Sequences.Count));
            }

            return [first.Row(Math.Exp(loss / scored), null), .. others.Select(other => other.Row(other.Meter.Perplexity, other.Meter.Fidelity))];
        }
        finally
        {
            opened.ForEach(model => model.Model.Dispose());
        }
    }

    private static EvaluatedModel[] Speed(
        IReadOnlyList<NamedModel> named, EvaluatedModel[] rows, ModelBenchmarkOptions options, IProgress<(string, int, int)>? progress, CancellationToken cancellation)
    {
        progress?.Report(("measuring speed", 0, 0));
        var measured = ModelBenchmark.Measure([.. named.Select(model => (model.Name, model.File))], options, new Rounds(progress), cancellation);
        return [.. rows.Zip(measured, (row, speed) => row with { Speed = new ModelSpeed(speed.Prefill, speed.Decode) })];
    }

    private sealed class Rounds(IProgress<(string, int, int)>? progress) : IProgress<(int Done, int Total)>
    {
        public void Report((int Done, int Total) value) => progress?.Report(("measuring speed", value.Done, value.Total));
    }

    private sealed record OpenModel(NamedModel Named, LanguageModel Model, double LoadSeconds, long? AnonymousBytes)
    {
        public FidelityMeter Meter { get; } = new();

        public static OpenModel Open(NamedModel named, EvaluationOptions options, ModelConfiguration configuration, CancellationToken cancellation)
        {
            var before = ProcessMemory.AnonymousBytes();
            var start = Stopwatch.GetTimestamp();
            var own = ModelConfiguration.Read(named.File);
            own = own with { HeadSize = own.HeadSize ?? configuration.HeadSize, VocabularySize = own.VocabularySize ?? configuration.VocabularySize };
            var model = LanguageModel.Open(named.File, options.Session, own);
            var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            try
            {
                model.Score(options.Sequences.First(sequence => sequence.Length > 1), 1, cancellation).Dispose();
                return new OpenModel(named, model, seconds, ProcessMemory.AnonymousBytes() - before);
            }
            catch
            {
                model.Dispose();
                throw;
            }
        }

        public EvaluatedModel Row(double perplexity, Fidelity? fidelity)
        {
            using var graph = OnnxModel.Load(Named.File);
            var weights = ModelInventory.Of(graph).Weights;
            return new EvaluatedModel
            {
                Name = Named.Name,
                Perplexity = perplexity,
                Fidelity = fidelity,
                Bytes = graph.FileBytes,
                BitsPerWeight = ModelInventory.BitsPerWeight(weights),
                LayerBitsPerWeight = ModelInventory.BitsPerWeight([.. weights.Where(weight => !weight.IsHeadOrTable)]),
                LoadSeconds = LoadSeconds,
                AnonymousBytes = AnonymousBytes,
            };
        }
    }
}
