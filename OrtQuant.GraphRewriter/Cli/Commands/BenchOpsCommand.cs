using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Benchmarks;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;

namespace OrtQuant.GraphRewriter.Cli.Commands;

/// <summary><c>ortquant bench ops</c>: one matrix product at a time, next to ONNX Runtime's own op and the machine's limits.</summary>
internal sealed class BenchOpsCommand : ToolCommand
{
    private readonly Option<string> _scheme = new("--scheme")
    {
        Description = "How weights are held (default: group); others than group take their own bits and group size where none are given.",
        HelpName = string.Join('|', SchemeCatalog.All.Select(scheme => scheme.Name)),
        DefaultValueFactory = _ => GroupScheme.Instance.Name,
    };

    private readonly Option<int[]> _bits = ListOption.Integers("--bits", [2, 3, 4, 8], "Widths of a code.", value => value is 1 or 2 or 3 or 4 or 8, "1, 2, 3, 4, 8");
    private readonly Option<int[]> _groups = ListOption.Integers(
        "--group-size", [32, 128], "Group sizes; -1 is a whole row.", value => value == -1 || (value >= 16 && int.IsPow2(value)), "powers of two from 16 on, -1");

    private readonly Option<int[]> _m = ListOption.Integers("--m", [1, 16, 512], "Rows of X.", value => value > 0, "integers from 1 on");
    private readonly Option<WeightShape[]> _shapes = ListOption.Create("--shape", [new WeightShape(4096, 4096)], "Shapes KxN of the weight. (default: 4096x4096)", ParseShape);
    private readonly Option<ZeroPointKind[]> _zeroPoints = ListOption.Words("--zero-points", [ZeroPointKind.Integer], "none, integer, float. (default: integer)", new Dictionary<string, ZeroPointKind>
    {
        ["none"] = ZeroPointKind.None,
        ["integer"] = ZeroPointKind.Integer,
        ["float"] = ZeroPointKind.Float,
    });

    private readonly Option<ElementType[]> _types = ListOption.Words("--dtype", [ElementType.Float32], "Types of X and Y: float, float16. (default: float)", new Dictionary<string, ElementType>
    {
        ["float"] = ElementType.Float32,
        ["float16"] = ElementType.Float16,
    });

    private readonly Option<int[]> _levels = ListOption.Integers("--accuracy-level", [4], "1 computes in float, 4 with int8 activations.", value => value is 1 or 4, "1, 4");
    private readonly Option<int[]> _threads = ListOption.Integers("--threads", [1], "Threads of the sessions.", value => value > 0, "integers from 1 on");
    private readonly Option<int> _repeat = CommonArguments.Positive("--repeat", 5, "Rounds at least; ours and the peer alternate.");
    private readonly Option<string?> _isa = new("--isa") { Description = "Instruction set to force: reference, avx2, avx512.", HelpName = "NAME" };
    private readonly Option<string?> _spacing = new("--levels") { Description = "Scheme lut: free or uniform levels (default: free).", HelpName = "free|uniform" };
    private readonly Option<OpBenchmarkPeer[]> _peer = ListOption.Words("--peer", [OpBenchmarkPeer.OnnxRuntime], "What to measure beside: ort (com.microsoft::MatMulNBits), ort-lut (its table kernels, 2 bits), group (our own). (default: ort)", new Dictionary<string, OpBenchmarkPeer>
    {
        ["ort"] = OpBenchmarkPeer.OnnxRuntime,
        ["ort-lut"] = OpBenchmarkPeer.OnnxRuntimeTables,
        ["group"] = OpBenchmarkPeer.Group,
    });

    private readonly Option<string?> _markdown = new("--markdown") { Description = "Also write the results as a Markdown page.", HelpName = "FILE" };

    /// <summary>Declares the verb.</summary>
    public BenchOpsCommand()
        : base(
            "ops",
            "Measure single matrix products beside com.microsoft::MatMulNBits and the machine's roofline.",
            "ortquant bench ops --bits 4 --group-size 32 --m 1,16,512 --threads 1,2",
            "ortquant bench ops --shape 4096x11008 --accuracy-level 1,4 --json",
            "ortquant bench ops --scheme dual --group-size 64,128 --m 1,512",
            "ortquant bench ops --scheme lut --bits 2 --group-size 64 --levels uniform --peer ort,ort-lut,group",
            "ortquant bench ops --markdown docs/benchmarks/cpu.md")
    {
        foreach (var option in (ReadOnlySpan<Option>)[_scheme, _bits, _groups, _m, _shapes, _zeroPoints, _types, _levels, _threads, _repeat, _isa, _spacing, _peer, _markdown])
        {
            Options.Add(option);
        }
    }

    /// <inheritdoc/>
    protected override async Task<int> RunAsync(ParseResult arguments, CommandContext context)
    {
        var cases = Cases(arguments);
        var isa = arguments.GetValue(_isa);
        if (isa is not null && !OrtQuantRuntime.AvailableIsas.Contains(isa))
        {
            throw new UsageException($"--isa is {isa}; available on this machine: {string.Join(", ", OrtQuantRuntime.AvailableIsas)}");
        }

        var report = await context.RunAsync(progress =>
        {
            var threads = arguments.GetValue(_threads)!.Distinct().ToArray();
            var before = MeasureRooflines(threads, progress);
            var rows = new List<OpBenchmarkRow>();
            var peers = arguments.GetValue(_peer)!;
            foreach (var (test, peer) in from test in cases from peer in peers select (test, peer))
            {
                progress.Report(new StageProgress("measuring", rows.Count, cases.Count * peers.Length, OpBenchmarkReport.Name(test)));
                rows.Add(OpBenchmark.Measure(test, arguments.GetValue(_repeat), isa, peer, context.Cancellation));
            }

            progress.Report(new StageProgress("measuring", rows.Count, rows.Count));
            var rooflines = before.Zip(MeasureRooflines(threads, progress), Roofline.Best).ToDictionary(roofline => roofline.Threads);
            return new OpBenchmarkReport(
                Machine.Describe(), isa ?? OrtQuantRuntime.Isa, [.. rooflines.Values],
                [.. rows.Select(row => row with { FloorMicroseconds = rooflines[row.Case.Threads].FloorMicroseconds(row.Case) })]);
        });
        if (arguments.GetValue(_markdown) is { } page)
        {
            WriteWhole(page, report.ToMarkdown());
        }

        context.WriteResult(report.ToJson, report.Write);
        return ExitCode.Ok;
    }

    private static Roofline[] MeasureRooflines(IReadOnlyList<int> threads, IProgress<StageProgress> progress)
    {
        var rooflines = new List<Roofline>();
        foreach (var count in threads)
        {
            progress.Report(new StageProgress("measuring roofline", rooflines.Count, threads.Count, $"{count} threads"));
            rooflines.Add(Roofline.Measure(count));
        }

        return [.. rooflines];
    }

    private List<OpBenchmarkCase> Cases(ParseResult arguments)
    {
        try
        {
            var scheme = SchemeCatalog.Get(arguments.GetValue(_scheme)!);
            return Cases(arguments, scheme, scheme is GroupScheme ? GroupParameters(arguments) : OtherParameters(arguments, scheme));
        }
        catch (OrtQuantException exception)
        {
            throw new UsageException(exception.Message);
        }
    }

    private List<OpBenchmarkCase> Cases(ParseResult arguments, IWeightScheme scheme, IReadOnlyList<SchemeParameters> parameters) =>
    [
        .. from threads in arguments.GetValue(_threads)!
           from type in arguments.GetValue(_types)!
           from level in arguments.GetValue(_levels)!
           from shape in arguments.GetValue(_shapes)!
           from held in parameters
           from m in arguments.GetValue(_m)!
           select new OpBenchmarkCase(scheme, held, shape, m, type, level, threads),
    ];

    private List<SchemeParameters> GroupParameters(ParseResult arguments) =>
    [
        .. from bits in arguments.GetValue(_bits)!
           from size in arguments.GetValue(_groups)!
           from zeroPoint in arguments.GetValue(_zeroPoints)!
           select new GroupParameters(bits, size, zeroPoint),
    ];

    private List<SchemeParameters> OtherParameters(ParseResult arguments, IWeightScheme scheme)
    {
        return [.. from bits in Given(_bits) from size in Given(_groups) select scheme.Parse(Json(bits, size))];

        IEnumerable<int?> Given(Option<int[]> option) =>
            arguments.GetResult(option) is { Implicit: false } ? arguments.GetValue(option)!.Select(value => (int?)value) : [null];

        JsonObject Json(int? bits, int? size)
        {
            var json = new JsonObject();
            if (bits is { } width) json["bits"] = width;
            if (size is { } group) json["group_size"] = group;
            if (arguments.GetValue(_spacing) is { } levels) json["levels"] = levels;
            return json;
        }
    }

    private static WeightShape ParseShape(string text) =>
        text.Split('x') is [var k, var n] &&
        int.TryParse(k, NumberStyles.None, CultureInfo.InvariantCulture, out var inputs) && inputs > 0 &&
        int.TryParse(n, NumberStyles.None, CultureInfo.InvariantCulture, out var outputs) && outputs > 0
            ? new WeightShape(outputs, inputs)
            : throw new UsageException($"--shape has '{text}'; permitted: KxN, for example 4096x11008");

    private static void WriteWhole(string path, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        File.WriteAllText(path + ".tmp", text);
        File.Move(path + ".tmp", path, overwrite: true);
    }
}
