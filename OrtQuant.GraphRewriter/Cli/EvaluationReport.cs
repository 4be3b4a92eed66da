using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Evaluation;
using OrtQuant.GraphRewriter.Planning;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>Results of <c>evaluate</c> as JSON, as a table for a terminal, and as Markdown.</summary>
internal sealed class EvaluationReport(EvaluationResult result, EvaluationDescription description)
{
    /// <summary>The JSON object of <c>evaluate</c>.</summary>
    public JsonObject ToJson() => new()
    {
        ["machine"] = MachineReport.ToJson(description.Machine),
        ["threads"] = description.Threads,
        ["text"] = description.Text,
        ["sequences"] = result.Sequences,
        ["positions"] = result.Positions,
        ["scored_tokens"] = result.ScoredTokens,
        ["seconds"] = JsonNumber.Of(result.Seconds, 3),
        ["reference"] = ToJson(result.Reference),
        ["models"] = new JsonArray([.. result.Models.Select(model => (JsonNode)ToJson(model))]),
    };

    /// <summary>The same as a table.</summary>
    public void Write(TextWriter text)
    {
        var columns = EvaluationTable.Columns(result);
        TextTable.Write(text, [.. columns.Select(column => column.Title)], result.All.Select(model => columns.Select(column => column.Cell(model)).ToArray()));
        text.WriteLine();
        foreach (var sentence in description.Sentences(result)) text.WriteLine(sentence);
    }

    /// <summary>The same as Markdown.</summary>
    public string ToMarkdown()
    {
        var text = new StringWriter { NewLine = "\n" };
        var columns = EvaluationTable.Columns(result);
        text.WriteLine($"| {string.Join(" | ", columns.Select(column => column.Title))} |");
        text.WriteLine($"|---|{string.Concat(columns.Skip(1).Select(_ => "--:|"))}");
        foreach (var model in result.All)
        {
            text.WriteLine($"| {string.Join(" | ", columns.Select(column => Escape(column.Cell(model))))} |");
        }

        text.WriteLine();
        text.WriteLine($"The first row is the reference. {string.Join(' ', description.Sentences(result))}");
        text.WriteLine();
        text.WriteLine(EvaluationDescription.Legend);
        return text.ToString();
    }

    /// <summary>One model.</summary>
    internal static JsonObject ToJson(EvaluatedModel model)
    {
        var json = new JsonObject
        {
            ["name"] = model.Name,
            ["perplexity"] = JsonNumber.Of(model.Perplexity),
        };
        if (model.Fidelity is { } fidelity)
        {
            json["kl"] = ToJson(fidelity.Divergence);
            json["loss_difference"] = new JsonObject
            {
                ["mean"] = JsonNumber.Of(fidelity.LossDifference.Mean),
                ["standard_error"] = JsonNumber.Of(fidelity.LossDifference.StandardError),
            };
            json["top1_agreement"] = JsonNumber.Of(fidelity.Top1Agreement);
        }

        json["bytes"] = model.Bytes;
        json["bits_per_weight"] = JsonNumber.Of(model.BitsPerWeight, 4);
        json["layer_bits_per_weight"] = JsonNumber.Of(model.LayerBitsPerWeight, 4);
        json["load_s"] = JsonNumber.Of(model.LoadSeconds, 3);
        json["rss_anonymous_bytes"] = model.AnonymousBytes;
        if (model.Speed is { } speed)
        {
            json["prefill_tokens_per_s"] = JsonNumber.Of(speed.Prefill, 2);
            json["decode_tokens_per_s"] = JsonNumber.Of(speed.Decode, 2);
        }

        return json;
    }

    private static JsonObject ToJson(Spread spread) => new()
    {
        ["mean"] = JsonNumber.Of(spread.Mean),
        ["standard_error"] = JsonNumber.Of(spread.StandardError),
        ["median"] = JsonNumber.Of(spread.Median),
        ["p90"] = JsonNumber.Of(spread.P90),
        ["p99"] = JsonNumber.Of(spread.P99),
        ["max"] = JsonNumber.Of(spread.Max),
    };

    private static string Escape(string cell) => cell.Replace("|", "\\|", StringComparison.Ordinal);
}
