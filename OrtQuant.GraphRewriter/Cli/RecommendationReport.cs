using System.Globalization;
using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Benchmarks;
using OrtQuant.GraphRewriter.Cli.Commands;
using OrtQuant.GraphRewriter.Evaluation;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Recommendation;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>Results of <c>recommend</c> as JSON and as a table.</summary>
internal sealed class RecommendationReport(
    RecommendationResult result, double maxLoss, long? maxBytes, string model, string? output, Machine machine)
{
    /// <summary>The JSON object of <c>recommend</c>.</summary>
    public JsonObject ToJson() => new()
    {
        ["machine"] = MachineReport.ToJson(machine),
        ["max_loss"] = maxLoss,
        ["max_bytes"] = maxBytes,
        ["own_text"] = result.OwnText,
        ["scored_tokens"] = result.ScoredTokens,
        ["seconds"] = JsonNumber.Of(result.Seconds, 3),
        ["reference"] = EvaluationReport.ToJson(result.Reference),
        ["tried"] = new JsonArray([.. result.Trials.Select(trial => (JsonNode)ToJson(trial))]),
        ["recommended"] = result.Best?.Recipe.Options,
        ["output"] = result.Best is null ? null : output,
        ["plan"] = result.Best?.Plan.ToJson(),
    };

    /// <summary>The same for a reader.</summary>
    public void Write(TextWriter text)
    {
        TextTable.Write(
            text,
            ["recipe", "MB", "bits/weight", "perplexity +%", "+/-", "KL", "top-1 %", "prefill tok/s", "decode tok/s", "s", ""],
            result.Trials.Select(trial => Row(trial.Recipe.Options, trial.Model, trial, trial == result.Best ? "<- recommended" : trial.Meets ? "" : "too much"))
                .Prepend(Row("(original)", result.Reference, null, "")));
        text.WriteLine();
        text.WriteLine(result.OwnText
            ? $"Measured over {result.ScoredTokens} ids that the model wrote itself: the rise to be expected on such text, exp(KL) - 1."
            : $"Measured over {result.ScoredTokens} ids of the text given.");
        text.WriteLine($"{machine.Processor}, {result.Seconds.ToString("0", CultureInfo.InvariantCulture)} s.");
        if (result.Best is null) return;
        text.WriteLine(output is null
            ? $"To write it: ortquant rewrite {model} -o OUT {result.Best.Recipe.Options}"
            : $"Written: {output} ({result.Best.Recipe.Options})");
    }

    private static string[] Row(string name, EvaluatedModel measured, Trial? trial, string verdict) =>
    [
        name,
        EvaluationTable.Number(measured.Bytes / 1e6, measured.Bytes < 1e7 ? "0.000" : "0.0"),
        EvaluationTable.Number(measured.BitsPerWeight, "0.00"),
        EvaluationTable.Number(100 * trial?.Loss, "0.00"),
        EvaluationTable.Number(100 * trial?.LossError, "0.00"),
        EvaluationTable.Number(measured.Fidelity?.Divergence.Mean, "0.0000"),
        EvaluationTable.Number(100 * measured.Fidelity?.Top1Agreement, "0.0"),
        EvaluationTable.Number(measured.Speed?.Prefill, "0.0"),
        EvaluationTable.Number(measured.Speed?.Decode, "0.0"),
        EvaluationTable.Number(trial?.Seconds, "0.0"),
        verdict,
    ];

    private static JsonObject ToJson(Trial trial)
    {
        var json = new JsonObject
        {
            ["recipe"] = trial.Recipe.Options,
            ["loss"] = JsonNumber.Of(trial.Loss),
            ["loss_standard_error"] = JsonNumber.Of(trial.LossError),
            ["meets"] = trial.Meets,
            ["seconds"] = JsonNumber.Of(trial.Seconds, 3),
        };
        foreach (var (name, value) in EvaluationReport.ToJson(trial.Model))
        {
            if (name != "name") json[name] = value?.DeepClone();
        }

        return json;
    }
}
