using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Benchmarks;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>Results of <c>bench model</c> as JSON and as text.</summary>
internal sealed class ModelBenchmarkReport(Machine machine, ModelBenchmarkOptions options, IReadOnlyList<ModelBenchmarkRow> rows)
{
    /// <summary>The JSON object of <c>bench model</c>.</summary>
    public JsonObject ToJson() => new()
    {
        ["machine"] = MachineReport.ToJson(machine),
        ["threads"] = options.Session.Threads,
        ["prompt"] = options.Prompt,
        ["new"] = options.New,
        ["repeat"] = options.Repeat,
        ["models"] = new JsonArray([.. rows.Select(row => (JsonNode)new JsonObject
        {
            ["name"] = row.Name,
            ["prefill_tokens_per_s"] = JsonNumber.Of(row.Prefill, 2),
            ["prefill_spread"] = Spread(row.PrefillSpread),
            ["decode_tokens_per_s"] = JsonNumber.Of(row.Decode, 2),
            ["decode_spread"] = Spread(row.DecodeSpread),
            ["load_s"] = JsonNumber.Of(row.LoadSeconds, 3),
            ["rss_anonymous_bytes"] = row.AnonymousBytes,
        })]),
        ["ratios"] = new JsonArray([.. rows.Skip(1).Select(row => (JsonNode)new JsonObject
        {
            ["name"] = row.Name,
            ["prefill"] = JsonNumber.Of(row.Prefill / rows[0].Prefill, 3),
            ["decode"] = JsonNumber.Of(row.Decode / rows[0].Decode, 3),
        })]),
    };

    /// <summary>The same as a table.</summary>
    public void Write(TextWriter text)
    {
        text.WriteLine($"{machine.Processor}, {options.Session.Threads} threads, prompt {options.Prompt}, new {options.New}, medians of {options.Repeat} alternating rounds");
        var width = Math.Max(5, rows.Max(row => row.Name.Length));
        text.WriteLine($"{"model".PadRight(width)}  {"prefill t/s",24}  {"decode t/s",24}  {"load s",7}  {"anon MB",8}");
        foreach (var row in rows)
        {
            text.WriteLine(
                $"{row.Name.PadRight(width)}  {Cell(row.Prefill, row.PrefillSpread, rows[0].Prefill),24}  {Cell(row.Decode, row.DecodeSpread, rows[0].Decode),24}  " +
                $"{row.LoadSeconds,7:0.00}  {(row.AnonymousBytes is { } bytes ? $"{bytes / 1e6:0.0}" : "-"),8}");
        }
    }

    private static string Cell(double value, (double Low, double High) spread, double first) =>
        double.IsFinite(value) ? $"{value:0.0} [{spread.Low:0.0}..{spread.High:0.0}] {value / first:0.00}x" : "not measured";

    private static JsonArray Spread((double Low, double High) spread) => [JsonNumber.Of(spread.Low, 2), JsonNumber.Of(spread.High, 2)];
}
