using System.Diagnostics;
using OrtQuant.GraphRewriter.Benchmarks;
using OrtQuant.GraphRewriter.Calibration;
using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Evaluation;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Planning.Allocation;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Recommendation;

/// <summary>
/// Finds the smallest model within a limit of loss by trying: qualities from the cheapest to the dearest, and within each sizes from the largest
/// down until one loses too much. Smaller ones of that quality would lose more, so they are not tried; the next quality begins where the one before it
/// failed. What is measured once for the model (its text, where bits matter) serves all trials.
/// </summary>
public sealed class Recommender
{
    // At the end, of the models within the limits, all in turn.
    private static readonly ModelBenchmarkOptions Speed = new() { Prompt = 64, New = 24, Repeat = 3 };

    // Other text than what sensitivities are measured on, and calibration.
    private const int TextSeed = 1000;

    private readonly string _modelFile;
    private readonly RecommendationOptions _options;
    private readonly IProgress<(string Stage, int Done, int Total)>? _progress;
    private readonly CancellationToken _cancellation;
    private readonly SessionSettings _session;
    private IReadOnlyList<double>? _sensitivities;

    private Recommender(string modelFile, RecommendationOptions options, IProgress<(string, int, int)>? progress, CancellationToken cancellation)
    {
        (_modelFile, _options, _progress, _cancellation) = (modelFile, options, progress, cancellation);
        _session = new SessionSettings { Threads = options.Threads };
    }

    /// <summary>Tries recipes.</summary>
    /// <param name="modelFile">The original: a language model.</param>
    /// <param name="options">The limits, and what to measure on.</param>
    /// <param name="progress">Told stages.</param>
    /// <param name="cancellation">Ends the search with an exception; what it wrote is removed.</param>
    /// <exception cref="RunningException">The model cannot be run as a language model.</exception>
    /// <exception cref="PlanException">Nothing can be packed, or nothing fits the limit of bytes.</exception>
    public static RecommendationResult Recommend(
        string modelFile, RecommendationOptions options, IProgress<(string Stage, int Done, int Total)>? progress = null, CancellationToken cancellation = default) =>
        new Recommender(modelFile, options, progress, cancellation).Run();

    private RecommendationResult Run()
    {
        var start = Stopwatch.GetTimestamp();
        var sequences = _options.Sequences ?? WriteText();
        using var folder = OutputFolder.Begin(Path.Combine(Path.GetTempPath(), $"ortquant-recommend-{Guid.NewGuid():N}"));
        var trials = new List<(Trial Trial, string File)>();
        EvaluatedModel? reference = null;
        var first = 0;
        foreach (var quality in QualityRecipe.All)
        {
            var ladder = Ladder(quality);
            for (var rung = first; rung < ladder.Count; rung++)
            {
                _cancellation.ThrowIfCancellationRequested();
                _progress?.Report(($"trying {ladder[rung].Options}", 0, 0));
                if (Try(ladder[rung], sequences, Path.Combine(folder.Path, $"{trials.Count}.onnx"), ref reference) is not { } trial) continue;
                trials.Add(trial);
                first = rung;
                if (!trial.Trial.Meets && trial.Trial.Loss > _options.MaxLoss) break;
                first = rung + 1;
            }
        }

        if (trials.Count == 0) throw new PlanException($"max-bytes is {_options.MaxBytes}; no recipe makes the model that small");
        return Finish(trials, reference!, sequences, start);
    }

    private IReadOnlyList<long[]> WriteText() =>
        OwnText.Sample(_modelFile, _session, TextSeed, _cancellation, _options.OwnSequences, new Stage("writing text", _progress))
        ?? throw new RunningException($"{Path.GetFileName(_modelFile)} writes no text itself (no language model with a cache); give a text to measure on");

    /// <summary>The usual sizes, and where bytes are limited, what just fits.</summary>
    private IReadOnlyList<Recipe> Ladder(QualityRecipe quality)
    {
        var usual = RecipeLadder.Of(quality);
        return _options.MaxBytes is { } most ? [new Recipe(quality, null, null, new BitBudget(null, most)), .. usual.Skip(1)] : usual;
    }

    /// <summary>Makes and measures one; null where it is larger than permitted or cannot be.</summary>
    private (Trial Trial, string File)? Try(Recipe recipe, IReadOnlyList<long[]> sequences, string file, ref EvaluatedModel? reference)
    {
        var start = Stopwatch.GetTimestamp();
        using var model = OnnxModel.Load(_modelFile);
        var plan = Plan(model, recipe);
        if (plan is null || (_options.MaxBytes is { } most && OutputSize.Of(model, plan, _cancellation) > most)) return null;
        if (plan.Weights.Count == 0) throw new PlanException("there is nothing to recommend: no weight of this model can be packed");
        ModelRewriter.Rewrite(model, plan, file, new RewriteOptions
        {
            Threads = _options.Threads,
            CancellationToken = _cancellation,
            Calibration = plan.UsesStatistics ? QualityRecipe.CalibrationOf(plan) with { Required = false } : null,
        });
        var result = ModelEvaluator.Evaluate(
            new NamedModel("original", _modelFile), [new NamedModel(recipe.Options, file)], new EvaluationOptions { Sequences = sequences, Session = _session }, null, _cancellation);
        reference ??= result.Reference;
        var measured = result.Models[0];

        // On text that the model wrote, KL is the mean of the log loss it would lose over all texts it could have written: the same, with less noise.
        var spread = _options.Sequences is null ? measured.Fidelity!.Divergence : measured.Fidelity!.LossDifference;
        var loss = Math.Exp(spread.Mean) - 1;
        var meets = loss <= _options.MaxLoss && !(measured.Bytes > _options.MaxBytes);
        if (!meets) Remove(file);
        return (new Trial(recipe, plan, measured, loss, spread.StandardError * (1 + loss), meets, Stopwatch.GetElapsedTime(start).TotalSeconds), file);
    }

    private QuantizationPlan? Plan(OnnxModel model, Recipe recipe)
    {
        var options = _options.Plan with { Bits = recipe.Bits, GroupSize = recipe.GroupSize, Algorithm = recipe.Quality.Algorithm, Threads = _options.Threads };
        if (recipe.Budget is not { } budget) return QuantizationPlan.Create(model, options, _cancellation);
        var plan = QuantizationPlan.Create(model, options, _cancellation);
        var allocator = new BitAllocator(model, plan, options, null, null, _cancellation);
        var sensitivity = new MeasuredSensitivity(model, plan, null, allocator.Errors, _options.Threads);
        _sensitivities ??= sensitivity.Measure(allocator.Units, new Stage("measuring sensitivities", _progress), _cancellation);
        try
        {
            return allocator.Choose(budget, _sensitivities, sensitivity.Unit);
        }
        catch (PlanException)
        {
            // Smaller than the smallest: no more than the end of the ladder.
            return null;
        }
    }

    private RecommendationResult Finish(List<(Trial Trial, string File)> trials, EvaluatedModel reference, IReadOnlyList<long[]> sequences, long start)
    {
        var best = trials.Where(item => item.Trial.Meets).OrderBy(item => item.Trial.Model.Bytes).Select(item => item.Trial).FirstOrDefault();
        var speeds = new Dictionary<string, ModelSpeed>();
        var kept = trials.Where(item => item.Trial.Meets).ToList();
        if (kept.Count > 0)
        {
            var models = kept.Select(item => (item.File, item.File)).Prepend((_modelFile, _modelFile)).ToList();
            _progress?.Report(("measuring speed", 0, 0));
            var rows = ModelBenchmark.Measure(models, Speed with { Session = _session }, new Stage("measuring speed", _progress), _cancellation);
            foreach (var row in rows) speeds[row.Name] = new ModelSpeed(row.Prefill, row.Decode);
        }

        var all = trials.Select(item => item.Trial with { Model = item.Trial.Model with { Speed = speeds.GetValueOrDefault(item.File) } }).ToList();
        return new RecommendationResult(
            all.FirstOrDefault(trial => trial.Recipe == best?.Recipe),
            reference with { Speed = speeds.GetValueOrDefault(_modelFile) },
            all,
            _options.Sequences is null,
            sequences.Sum(sequence => (long)sequence.Length - 1),
            Stopwatch.GetElapsedTime(start).TotalSeconds);
    }

    private static void Remove(string file)
    {
        foreach (var part in Directory.GetFiles(Path.GetDirectoryName(file)!, $"{Path.GetFileName(file)}*")) OutputFile.TryDelete(part);
    }

    private sealed class Stage(string name, IProgress<(string, int, int)>? progress) : IProgress<(int Done, int Total)>
    {
        public void Report((int Done, int Total) value) => progress?.Report((name, value.Done, value.Total));
    }
}
