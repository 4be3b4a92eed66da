using System.Diagnostics;
using OrtQuant.GraphRewriter.Calibration;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Quantizers;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Rewriting;

/// <summary>
/// Rewrites a model by a plan and saves it.
/// <code>
/// using var model = OnnxModel.Load("model.onnx");
/// var plan = QuantizationPlan.Create(model, new PlanOptions { Bits = 4 });
/// var result = ModelRewriter.Rewrite(model, plan, "model.q4.onnx");
/// </code>
/// </summary>
public static class ModelRewriter
{
    /// <summary>
    /// Applies the plan and saves the model, one weight in memory at a time. The output appears whole or not at all; its bytes do not depend
    /// on the number of threads.
    /// </summary>
    /// <param name="model">The model. It is the rewritten one afterwards: load it again for another plan.</param>
    /// <param name="plan">A plan that was made for it.</param>
    /// <param name="outputPath">The .onnx file to write; external data goes beside it.</param>
    /// <param name="options">Threads, progress, cancellation.</param>
    /// <exception cref="PlanException">The plan does not hold for the model.</exception>
    /// <exception cref="OrtQuantException">A weight is not finite, or too large for its scheme; the message names it.</exception>
    /// <exception cref="RunningException">The model cannot be calibrated, and <see cref="CalibrationOptions.Required"/> is set.</exception>
    /// <exception cref="IOException">The output cannot be written, or is the input itself.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public static RewriteResult Rewrite(OnnxModel model, QuantizationPlan plan, string outputPath, RewriteOptions? options = null)
    {
        options ??= new RewriteOptions();
        var start = Stopwatch.GetTimestamp();
        using var memory = new MemorySampler();
        var bytesIn = model.FileBytes;
        options.Progress?.Report(new RewriteProgress("rewriting the graph", 0, 0));
        var weights = PackedWeights.Prepare(model, plan, options.CancellationToken);
        var calibrates = options.Calibration is not null && weights.All.Any(UsesStatistics);
        var reference = calibrates ? model.Clone() : null;
        var applied = new PlanApplier(model, plan, options).Apply(weights);
        using var calibrator = reference is null ? null : new Calibrator(reference, model, applied, options, Path.GetDirectoryName(Path.GetFullPath(outputPath))!);
        var calibration = calibrator?.Run();

        // Weights of quite different sizes: progress counts their values.
        var total = applied.Encodings.Sum(encoding => encoding.Weight.Shape.Count);
        var done = 0L;
        foreach (var encoding in applied.Encodings)
        {
            encoding.Started = () =>
            {
                options.Progress?.Report(new RewriteProgress("quantizing", done, total, encoding.Weight.Name));
                done += encoding.Weight.Shape.Count;
            };
        }

        var saved = ModelWriter.Save(model, outputPath, new SaveOptions { Cancellation = options.CancellationToken });
        options.Progress?.Report(new RewriteProgress("quantizing", total, total));
        return new RewriteResult
        {
            Path = saved.GraphPath,
            Nodes = [.. applied.Nodes.Select(Describe)],
            Skipped = plan.Skipped,
            Calibration = calibration,
            BytesIn = bytesIn,
            BytesOut = saved.Bytes,
            Seconds = Stopwatch.GetElapsedTime(start).TotalSeconds,
            PeakRssBytes = MemorySampler.PeakResidentBytes,
            PeakAnonymousBytes = memory.PeakAnonymousBytes,
        };
    }

    private static bool UsesStatistics(PackedWeight weight) =>
        weight.Plan.Algorithm != PlannedWeight.Adopt && QuantizerCatalog.Get(weight.Plan.Algorithm).StatisticsNeeded > StatisticsLevel.None;

    private static RewrittenNode Describe(EmittedNode emitted)
    {
        var encoding = emitted.Encoding;
        var (shape, plan) = (encoding.Weight.Shape, encoding.Weight.Plan);
        return new RewrittenNode(
            emitted.Node.DisplayName(),
            emitted.Node.OpType,
            plan.Scheme,
            shape.K,
            shape.N,
            encoding.Scheme.BitsPerWeight(shape, plan.Parameters),
            encoding.RelativeError);
    }
}
