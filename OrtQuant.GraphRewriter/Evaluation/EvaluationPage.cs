using System.Globalization;
using System.Net;
using System.Text;

namespace OrtQuant.GraphRewriter.Evaluation;

/// <summary>An evaluation as one HTML file: table and plots, nothing from elsewhere, no scripts.</summary>
internal static class EvaluationPage
{
    private const string Style = """
        :root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6575; --line: #e3e7ee; --ground: #ffffff; --panel: #f7f9fc; --accent: #1f6feb; --level: #c2410c; }
        @media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #9aa5b5; --line: #2c3442; --ground: #12161d; --panel: #191f29; --accent: #6aa8ff; --level: #fb923c; } }
        body { margin: 0 auto; max-width: 1360px; padding: 28px 24px 40px; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
        h1 { font-size: 22px; margin: 0 0 4px; } p { margin: 4px 0; color: var(--soft); max-width: 100ch; }
        .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 16px; margin: 20px 0; }
        .plots figure { margin: 0; background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 10px; }
        svg { display: block; width: 100%; height: auto; font: 12px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
        svg .title { font-size: 14px; font-weight: 600; fill: var(--ink); } svg .tick, svg .name { fill: var(--soft); } svg .label { fill: var(--ink); paint-order: stroke; stroke: var(--panel); stroke-width: 3; }
        svg .grid { stroke: var(--line); } svg .axis { stroke: var(--soft); } svg .point { fill: var(--accent); stroke: var(--panel); stroke-width: 1.5; }
        svg .frontier { fill: none; stroke: var(--accent); stroke-width: 1.5; opacity: .45; } svg .level { stroke: var(--level); stroke-dasharray: 5 4; } svg .level-name { fill: var(--level); }
        .scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }
        th, td { padding: 6px 8px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; } th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
        th:first-child, td:first-child { color: var(--soft); } th:nth-child(2), td:nth-child(2) { text-align: left; } tr.reference td { background: var(--panel); } td.best { font-weight: 700; color: var(--accent); }
        footer { margin-top: 18px; font-size: 13px; }
        """;

    /// <summary>The whole page.</summary>
    internal static string Write(EvaluationResult result, EvaluationDescription description)
    {
        var page = new StringBuilder();
        var title = $"{result.Models.Count} {(result.Models.Count == 1 ? "model" : "models")} against {Short(result.Reference.Name, result)}";
        page.Append(CultureInfo.InvariantCulture, $"<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>{Escape(title)}</title>\n<style>\n{Style}\n</style>\n<h1>{Escape(title)}</h1>\n");
        foreach (var sentence in description.Sentences(result)) page.Append(CultureInfo.InvariantCulture, $"<p>{Escape(sentence)}</p>\n");
        page.Append("<div class=\"plots\">\n");
        foreach (var plot in Plots(result))
        {
            if (plot.ToSvg() is { Length: > 0 } svg) page.Append(CultureInfo.InvariantCulture, $"<figure>\n{svg}</figure>\n");
        }

        page.Append("</div>\n");
        WriteTable(page, result);
        page.Append(CultureInfo.InvariantCulture, $"<footer><p>The shaded row is the reference; bold: the best of the others. The line in the plots joins the models that no other beats in both directions.</p><p>{Escape(EvaluationDescription.Legend)}</p></footer>\n</html>\n");
        return page.ToString();
    }

    private static IEnumerable<ScatterPlot> Plots(EvaluationResult result)
    {
        var reference = result.Reference;
        var level = ($"{reference.Perplexity.ToString("0.00", CultureInfo.InvariantCulture)}: {Short(reference.Name, result)}");
        yield return new ScatterPlot(
            "Perplexity against size", "MB", "perplexity", Points(model => model.Bytes / 1e6, model => model.Perplexity), (reference.Perplexity, level));
        yield return new ScatterPlot(
            "Divergence against bits", "bits per weight of the layers' linears", "mean KL, nats a token",
            Points(model => model.LayerBitsPerWeight ?? model.BitsPerWeight ?? double.NaN, model => model.Fidelity!.Divergence.Mean), null);
        if (reference.Speed is null) yield break;

        // Milliseconds, not tokens a second: as in the other plots, nearer to the corner is better.
        yield return new ScatterPlot(
            "Divergence against time", "ms a token, decoding", "mean KL, nats a token",
            Points(model => 1000 / (model.Speed?.Decode ?? double.NaN), model => model.Fidelity!.Divergence.Mean), null);

        PlotPoint[] Points(Func<EvaluatedModel, double> x, Func<EvaluatedModel, double> y) =>
            [.. result.Models.Select((model, i) => new PlotPoint(i + 1, Short(model.Name, result), x(model), y(model)))];
    }

    /// <summary>The last part of a path, where it tells the models apart.</summary>
    private static string Short(string name, EvaluationResult result) =>
        result.All.Select(model => Path.GetFileName(model.Name)).Distinct().Count() == result.Models.Count + 1 ? Path.GetFileName(name) : name;

    private static void WriteTable(StringBuilder page, EvaluationResult result)
    {
        var columns = EvaluationTable.Columns(result);
        page.Append("<div class=\"scroll\"><table>\n<tr><th></th>");
        foreach (var column in columns) page.Append(CultureInfo.InvariantCulture, $"<th>{Escape(Typeset(column.Title))}</th>");
        page.Append("</tr>\n");
        foreach (var (number, model) in result.All.Index())
        {
            page.Append(number == 0 ? "<tr class=\"reference\"><td></td>" : string.Create(CultureInfo.InvariantCulture, $"<tr><td>{number}</td>"));
            page.Append(CultureInfo.InvariantCulture, $"<td title=\"{Escape(model.Name)}\">{Escape(Short(model.Name, result))}</td>");
            foreach (var column in columns.Skip(1))
            {
                page.Append(CultureInfo.InvariantCulture, $"<td{(IsBest(column, model, result) ? " class=\"best\"" : "")}>{Escape(Typeset(column.Cell(model)))}</td>");
            }

            page.Append("</tr>\n");
        }

        page.Append("</table></div>\n");
    }

    private static bool IsBest(EvaluationTable.Column column, EvaluatedModel model, EvaluationResult result) =>
        result.Models.Count > 1 && column.Order is { } order && model != result.Reference && order(model) is { } value
        && result.Models.All(other => !(order(other) < value));

    private static string Typeset(string text) => text.Replace("+/-", "\u00b1", StringComparison.Ordinal);

    private static string Escape(string text) => WebUtility.HtmlEncode(text);
}
