using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Evaluation;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Quantizers;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.Schemes.Group;

namespace OrtQuant.GraphRewriter.Planning.Allocation;

/// <summary>
/// By running the model: its text once with all weights in 8 bits, then once for each unit with that unit alone in few bits. The divergence
/// of the predictions, divided by the unit's error, is its sensitivity.
/// </summary>
/// <param name="model">The original.</param>
/// <param name="plan">The plan that bits are chosen for.</param>
/// <param name="sequences">Text to run; null: the model writes a little.</param>
/// <param name="errors">Errors of the units' weights.</param>
/// <param name="threads">Most threads to use; 0 for one per processor.</param>
internal sealed class MeasuredSensitivity(
    OnnxModel model, QuantizationPlan plan, IReadOnlyList<long[]>? sequences, IReadOnlyDictionary<AllocationUnit, CandidateErrors> errors, int threads)
    : IWeightSensitivity
{
    // Every unit runs all of it. What counts are differences between units of factors, which few positions show.
    private const int OwnSequences = 3;

    // The scores of the reference stay in memory: so many numbers at most.
    private const long MostScores = 1 << 26;

    /// <summary>How the one unit is stored: coarse enough to be seen over the rounding of float32, fine enough that the loss still grows with the error's square.</summary>
    internal static GroupParameters Probe { get; } = new(3, 32);

    /// <inheritdoc/>
    public string Unit => "KL, nats a token";

    /// <inheritdoc/>
    public IReadOnlyList<double> Measure(IReadOnlyList<AllocationUnit> units, IProgress<(int Done, int Total)>? progress, CancellationToken cancellation)
    {
        progress?.Report((0, units.Count));
        using var probes = new ProbeModels(model, plan, Probe, threads, cancellation);
        var references = new List<ReferenceBatch>();
        try
        {
            var batches = Reference(probes, references, cancellation);
            var sensitivities = new double[units.Count];
            for (var i = 0; i < units.Count; i++)
            {
                var unit = units[i];
                var context = new QuantizerContext(unit.Weight.Name) { Threads = threads, CancellationToken = cancellation };
                var error = errors[unit].Of(RoundToNearest.Instance, GroupScheme.Instance, Probe, context);
                sensitivities[i] = error == 0 ? 0 : Divergence(probes.Variant(unit.Weight.Name), probes, references, batches, cancellation) / error;
                progress?.Report((i + 1, units.Count));
            }

            return sensitivities;
        }
        finally
        {
            foreach (var reference in references) reference.Dispose();
        }
    }

    private List<(long[] Ids, int Batch)> Reference(ProbeModels probes, List<ReferenceBatch> references, CancellationToken cancellation)
    {
        var text = sequences ?? OwnText.Sample(probes.File, new SessionSettings { Threads = threads, Graph = probes.Reference() }, 1, cancellation, OwnSequences, null, model.Path)
            ?? throw new RunningException("sensitivities are measured on text, and this is no language model that could write some; take them from the weights");
        using var reference = Open(probes, probes.Reference());
        var batches = new List<(long[] Ids, int Batch)>();
        var left = MostScores;
        foreach (var (ids, batch) in SequenceBatches.Of(text, reference))
        {
            var logits = reference.Score(ids, batch, cancellation);
            references.Add(new ReferenceBatch(logits, ids, batch));
            batches.Add((ids, batch));
            left -= (long)ids.Length * logits.Vocabulary;
            if (left <= 0) break;
        }

        return batches.Count > 0 ? batches : throw new RunningException("there is no text to measure sensitivities on: at least one sequence of two ids is needed");
    }

    private double Divergence(
        byte[] graph, ProbeModels probes, List<ReferenceBatch> references, List<(long[] Ids, int Batch)> batches, CancellationToken cancellation)
    {
        using var variant = Open(probes, graph);
        var meter = new FidelityMeter();
        foreach (var (reference, (ids, batch)) in references.Zip(batches))
        {
            using var logits = variant.Score(ids, batch, cancellation);
            meter.Add(reference, logits);
        }

        return meter.DivergenceMean;
    }

    private LanguageModel Open(ProbeModels probes, byte[] graph) =>
        LanguageModel.Open(
            probes.File, new SessionSettings { Threads = threads, Graph = graph }, model.Path is { } file ? ModelConfiguration.Read(file) : ModelConfiguration.Empty);
}
