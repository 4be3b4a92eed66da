using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Benchmarks;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>Results of <c>bench model</c> as JSON and as text.</summary>
/// <param name="machine">Where it was measured.</param>
/// <param name="options">What was measured.</param>
/// <param name="rows">A row for each model.</param>
/// <param name="profiles">The profile of a decoding step of each model; none when it was not asked for.</param>
internal sealed class ModelBenchmarkReport(
    Machine machine, ModelBenchmarkOptions options, IReadOnlyList<ModelBenchmarkRow> rows, IReadOnlyList<IReadOnlyList<OpCost>> profiles)
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
        ["profiles"] = new JsonArray([.. profiles.Select((costs, i) => (JsonNode)new JsonObject
        {
            ["name"] = rows[i].Name,
            ["step"] = new JsonArray([.. costs.Select(cost => (JsonNode)new JsonObject
            {
                ["op"] = cost.Op,
                ["nodes"] = JsonNumber.Of(cost.Nodes, 1),
                ["us"] = JsonNumber.Of(cost.Microseconds, 1),
            })]),
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

        for (var i = 0; i < profiles.Count; i++) WriteProfile(text, rows[i].Name, profiles[i]);
    }

    private static void WriteProfile(TextWriter text, string name, IReadOnlyList<OpCost> costs)
    {
        var total = costs.Sum(cost => cost.Microseconds);
        text.WriteLine();
        text.WriteLine($"{name}: a decoding step spends {total:0} us in operators (profiling itself costs about 1 us a node)");
        foreach (var cost in costs)
        {
            text.WriteLine($"  {cost.Op,-32}{cost.Nodes,6:0} nodes {cost.Microseconds,10:0.0} us {100 * cost.Microseconds / total,6:0.0} %");
        }
    }

    private static string Cell(double value, (double Low, double High) spread, double first) =>
        double.IsFinite(value) ? $"{value:0.0} [{spread.Low:0.0}..{spread.High:0.0}] {value / first:0.00}x" : "not measured";

    private static JsonArray Spread((double Low, double High) spread) => [JsonNumber.Of(spread.Low, 2), JsonNumber.Of(spread.High, 2)];
}
