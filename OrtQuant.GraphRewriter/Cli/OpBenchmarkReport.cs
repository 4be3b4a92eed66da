using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Benchmarks;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>Results of <c>bench ops</c> as JSON, as a table and as a Markdown page.</summary>
/// <param name="machine">Where it was measured.</param>
/// <param name="isa">Instruction set of our kernels.</param>
/// <param name="rooflines">Limits of the machine, one for each number of threads.</param>
/// <param name="rows">The measurements.</param>
internal sealed class OpBenchmarkReport(Machine machine, string isa, IReadOnlyList<Roofline> rooflines, IReadOnlyList<OpBenchmarkRow> rows)
{
    private const string NotMeasured = "not measured";

    /// <summary>A case in a few words.</summary>
    public static string Name(OpBenchmarkCase test) =>
        $"{test.Parameters} {test.Shape.K}x{test.Shape.N} M={test.M} level {test.AccuracyLevel} {TypeName(test.Type)} {test.Threads}t";

    /// <summary>The JSON object of <c>bench ops</c>.</summary>
    public JsonObject ToJson() => new()
    {
        ["machine"] = MachineReport.ToJson(machine),
        ["roofline"] = ToJson(rooflines[0]),
        ["rooflines"] = new JsonArray([.. rooflines.Select(ToJson)]),
        ["rows"] = new JsonArray([.. rows.Select(ToJson)]),
    };

    /// <summary>The same as a table for a terminal.</summary>
    public void Write(TextWriter text)
    {
        text.WriteLine($"{machine.Processor}, ONNX Runtime {machine.OnnxRuntime}, kernels {isa}");
        foreach (var roofline in rooflines)
        {
            text.WriteLine(Describe(roofline));
        }

        var width = rows.Max(row => Name(row.Case).Length);
        text.WriteLine($"{"case".PadRight(width)}  {"us",10}  {"min..max",17}  {"peer us",12}  {"ratio",6}  {"floor us",9}  {"of floor",8}  peer");
        foreach (var row in rows)
        {
            var (us, peer) = (1e6 * row.Time.Median, row.PeerTime is { } sample ? $"{1e6 * sample.Median:0.0}" : NotMeasured);
            var floor = row.FloorMicroseconds is { } least ? $"{least,9:0.0}  {100 * least / us,7:0} %" : $"{"-",9}  {"-",8}";
            text.WriteLine(
                $"{Name(row.Case).PadRight(width)}  {us,10:0.0}  {$"{1e6 * row.Time.Min:0}..{1e6 * row.Time.Max:0}",17}  {peer,12}  " +
                $"{(row.Ratio is { } ratio ? $"{ratio:0.00}" : "-"),6}  {floor}  {row.Peer}");
        }
    }

    /// <summary>The same as a Markdown page.</summary>
    public string ToMarkdown()
    {
        var page = new StringBuilder();
        page.AppendLine("# CPU benchmarks");
        page.AppendLine();
        page.AppendLine("Written by `ortquant bench ops --markdown FILE`. One product Y [M, N] = X [M, K] . W^T; the weights of a run are");
        page.AppendLine("many and come from memory; ours and the peer alternate in one process; medians.");
        page.AppendLine($"Peers: {string.Join(", ", rows.Select(row => row.Peer).OfType<string>().Distinct().Select(peer => $"`{peer}`"))}.");
        page.AppendLine("*Ratio* is the peer's time by ours; *floor* the larger of stored bytes / read bandwidth and operations / peak.");
        page.AppendLine();
        page.AppendLine(CultureInfo.InvariantCulture, $"- {machine.Processor}, {machine.Cores} logical processors, {machine.MemoryBytes / 1e9:0.0} GB, {machine.OperatingSystem}");
        page.AppendLine(CultureInfo.InvariantCulture, $"- {machine.Date}, ONNX Runtime {machine.OnnxRuntime}, kernels: {isa}");
        foreach (var roofline in rooflines)
        {
            page.AppendLine(CultureInfo.InvariantCulture, $"- {Describe(roofline)}");
        }

        foreach (var table in rows.GroupBy(row => (row.Case.Shape, row.Case.AccuracyLevel, row.Case.Type, row.Case.Threads, row.Peer)))
        {
            var (shape, level, type, threads, peer) = table.Key;
            page.AppendLine();
            page.AppendLine(CultureInfo.InvariantCulture, $"## K = {shape.K}, N = {shape.N}, accuracy level {level}, {TypeName(type)}, {threads} thread{(threads > 1 ? "s" : "")}{(peer is null ? "" : $", beside `{peer}`")}");
            page.AppendLine();
            page.AppendLine("| weights | M | us (min..max) | peer us (min..max) | ratio | floor us | bytes | peer bytes |");
            page.AppendLine("|---|---|---|---|---|---|---|---|");
            foreach (var row in table)
            {
                page.AppendLine(CultureInfo.InvariantCulture,
                    $"| {row.Case.Parameters} | {row.Case.M} | {Cell(row.Time)} | {(row.PeerTime is { } time ? Cell(time) : NotMeasured)} | " +
                    $"{(row.Ratio is { } ratio ? $"{ratio:0.00}" : "")} | {row.FloorMicroseconds:0.0} | {row.Case.Bytes} | {row.PeerBytes} |");
            }
        }

        return page.ToString();
    }

    private JsonNode ToJson(OpBenchmarkRow row)
    {
        var parameters = row.Case.Scheme.ToJson(row.Case.Parameters);
        return new JsonObject
        {
            ["op"] = row.Case.Scheme.Op.Name,
            ["bits"] = parameters["bits"]?.DeepClone(),
            ["group"] = parameters["group_size"]?.DeepClone(),
            ["zero_point"] = parameters["zero_point"]?.DeepClone(),
            ["dtype"] = TypeName(row.Case.Type),
            ["accuracy_level"] = row.Case.AccuracyLevel,
            ["m"] = row.Case.M,
            ["n"] = row.Case.Shape.N,
            ["k"] = row.Case.Shape.K,
            ["threads"] = row.Case.Threads,
            ["isa"] = isa,
            ["us"] = Microseconds(row.Time.Median),
            ["us_spread"] = Spread(row.Time),
            ["repeats"] = row.Time.Repeats,
            ["peer"] = row.Peer,
            ["peer_us"] = Microseconds(row.PeerTime?.Median),
            ["peer_us_spread"] = row.PeerTime is { } peer ? Spread(peer) : null,
            ["peer_bytes"] = row.PeerBytes,
            ["ratio"] = JsonNumber.Of(row.Ratio, 3),
            ["floor_us"] = JsonNumber.Of(row.FloorMicroseconds, 2),
            ["bytes"] = row.Case.Bytes,
        };
    }

    private static JsonNode ToJson(Roofline roofline) => new JsonObject
    {
        ["threads"] = roofline.Threads,
        ["read_gbs"] = JsonNumber.Of(roofline.ReadGigabytesPerSecond, 1),
        ["int8_gops"] = JsonNumber.Of(roofline.Int8Gops, 1),
        ["fp32_gflops"] = JsonNumber.Of(roofline.Float32Gflops, 1),
    };

    private static JsonNode? Microseconds(double? seconds) => JsonNumber.Of(1e6 * seconds, 2);

    private static JsonArray Spread(Sample sample) => [Microseconds(sample.Min), Microseconds(sample.Max)];

    private static string Cell(Sample sample) => $"{1e6 * sample.Median:0.0} ({1e6 * sample.Min:0}..{1e6 * sample.Max:0})";

    private static string Describe(Roofline roofline) =>
        $"roofline, {roofline.Threads} thread{(roofline.Threads > 1 ? "s" : "")}: read {roofline.ReadGigabytesPerSecond:0.0} GB/s, " +
        $"int8 {roofline.Int8Gops:0} GOP/s, float32 {roofline.Float32Gflops:0} GFLOP/s";

    private static string TypeName(ElementType type) => type == ElementType.Float16 ? "float16" : "float";
}
