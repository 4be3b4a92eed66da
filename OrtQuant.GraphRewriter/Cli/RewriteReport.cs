using System.Globalization;
using OrtQuant.GraphRewriter.Calibration;
using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Rewriting;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>The result of <c>rewrite</c> for a reader: what came out, whether it is right, what it costs, what to do next.</summary>
internal static class RewriteReport
{
    /// <summary>Writes it.</summary>
    public static void Write(RewriteResult result, QuantizationPlan plan, Verification? verification, string output, TextWriter text)
    {
        text.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{output}: {Size(result.BytesIn)} -> {Size(result.BytesOut)} ({100.0 * result.BytesOut / Math.Max(1, result.BytesIn):0.#} %) in {result.Seconds:0.0} s"));
        foreach (var kind in plan.Weights.GroupBy(weight => weight.Why))
        {
            var values = kind.Sum(weight => (double)weight.Shape.Count);
            var bits = kind.Sum(weight => PlanReport.BitsPerWeight(weight) * weight.Shape.Count) / values;
            text.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"  {PlanReport.Count(kind.Count(), "weight")}, {values / 1e6:0.##} million values: {kind.Key}, {bits:0.##} bits per weight, {PlanReport.AccuracyName(kind.First().AccuracyLevel)} kernels"));
        }

        if (result.Calibration is { Fallback: null } calibration) Write(calibration, text);
        foreach (var reason in result.Skipped.GroupBy(node => node.Reason))
        {
            text.WriteLine($"  {reason.Count()} left alone ({reason.First().Op} {reason.First().Name}{(reason.Count() > 1 ? ", ..." : "")}): {reason.Key}");
        }

        if (verification is not null) Write(verification, text);
    }

    private static void Write(CalibrationReport calibration, TextWriter text)
    {
        text.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"  calibrated on {calibration.Source}: {calibration.Tokens} tokens, {PlanReport.Count(calibration.Weights, "weight")}, {calibration.TextSeconds + calibration.Seconds:0.0} s"));
        foreach (var reason in calibration.Uncalibrated.GroupBy(weight => weight.Reason))
        {
            text.WriteLine($"  {reason.Count()} without statistics ({reason.First().Name}{(reason.Count() > 1 ? ", ..." : "")}): {reason.Key}");
        }
    }

    private static void Write(Verification verification, TextWriter text)
    {
        foreach (var check in verification.Kernels)
        {
            text.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"  {(check.Passed ? "ok" : "FAILED"),-6} {check.Level} kernels against the dequantized weights, {PlanReport.Count(check.Ops, "op")} one by one: relative error {check.RelativeL2:g2} at most, limit {check.Limit:g2} ({check.Node})"));
        }

        if (verification.WholeGraph is { } whole) text.WriteLine(string.Create(CultureInfo.InvariantCulture, $"         over the whole graph: {whole:g2}"));

        var loss = verification.Loss;
        var figures = loss.KlMean is { } mean
            ? string.Create(CultureInfo.InvariantCulture, $"same next token at {100 * loss.Top1Agreement:0.#} % of {loss.Tokens} positions{(loss.Perplexity is null ? "" : " of the model's own text")}, KL {mean:0.####} nats, ")
            : "";
        text.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  {"loss",-6} against the original: {figures}relative error of outputs {100 * loss.RelativeL2:0.##} %"));
    }

    private static string Size(long bytes) => bytes switch
    {
        >= 1_000_000_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e9:0.##} GB"),
        >= 1_000_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:0.#} MB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e3:0.#} KB"),
    };
}
