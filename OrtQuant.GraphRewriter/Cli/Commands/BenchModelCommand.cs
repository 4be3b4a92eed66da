using System.CommandLine;
using OrtQuant.GraphRewriter.Benchmarks;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Cli.Commands;

/// <summary><c>ortquant bench model</c>: prefill and decode speed of whole models.</summary>
internal sealed class BenchModelCommand : ToolCommand
{
    private readonly Argument<string[]> _models = new("MODEL")
    {
        Description = "Models to measure; ratios are to the first.",
        Arity = ArgumentArity.OneOrMore,
    };

    private readonly Option<int> _prompt = CommonArguments.Positive("--prompt", 512, "Prompt length in tokens.");
    private readonly Option<int> _new = CommonArguments.Positive("--new", 128, "New tokens.");
    private readonly Option<int> _repeat = CommonArguments.Positive("--repeat", 5, "Rounds; models alternate within a round.");
    private readonly Option<int> _threads = CommonArguments.Threads();
    private readonly Option<bool> _noLibrary = CommonArguments.NoLibrary();
    private readonly Option<bool> _profile = new("--profile") { Description = "Then profile each model, too: what the operators of a decoding step cost." };

    /// <summary>Declares the verb.</summary>
    public BenchModelCommand()
        : base(
            "model",
            "Measure whole models: greedy decoding of the same prompt, in alternating rounds.",
            "ortquant bench model out/smollm2 out/smollm2-microsoft smollm2 --threads 1",
            "ortquant bench model model.q4.onnx --prompt 64 --new 32 --repeat 3 --json")
    {
        Arguments.Add(_models);
        foreach (var option in (ReadOnlySpan<Option>)[_prompt, _new, _repeat, _threads, _noLibrary, _profile])
        {
            Options.Add(option);
        }
    }

    /// <inheritdoc/>
    protected override async Task<int> RunAsync(ParseResult arguments, CommandContext context)
    {
        var names = arguments.GetValue(_models)!;
        var models = names.Select(name => (name.TrimEnd('/'), ModelPath.Resolve(name).File)).ToArray();
        var options = new ModelBenchmarkOptions
        {
            Prompt = arguments.GetValue(_prompt),
            New = arguments.GetValue(_new),
            Repeat = arguments.GetValue(_repeat),
            Session = new SessionSettings { Threads = arguments.GetValue(_threads), UseLibrary = !arguments.GetValue(_noLibrary) },
        };
        var (rows, profiles) = await context.RunAsync(progress =>
        {
            progress.Report(new StageProgress("opening models", 0, 0));
            var measured = ModelBenchmark.Measure(models, options, progress.For("measuring"), context.Cancellation);
            if (!arguments.GetValue(_profile)) return (measured, (IReadOnlyList<OpCost>[])[]);
            progress.Report(new StageProgress("profiling", 0, 0));
            return (measured, [.. models.Select(model => ModelProfile.MeasureDecode(model.File, options, context.Cancellation))]);
        });
        var report = new ModelBenchmarkReport(Machine.Describe(), options, rows, profiles);
        context.WriteResult(report.ToJson, report.Write);
        return ExitCode.Ok;
    }
}
