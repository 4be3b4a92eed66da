using System.CommandLine;
using System.Text;
using OrtQuant.GraphRewriter.Benchmarks;
using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Evaluation;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Cli.Commands;

/// <summary><c>ortquant evaluate</c>: several models side by side against a reference.</summary>
internal sealed class EvaluateCommand : ToolCommand
{
    private const int OwnSequences = 4;

    private readonly Argument<string> _reference = CommonArguments.Model("REF", "The reference: an .onnx file, or a folder that holds one.");
    private readonly Argument<string[]> _models = new("MODEL") { Description = "Models to compare with it.", Arity = ArgumentArity.OneOrMore };
    private readonly TextArguments _text = new();
    private readonly Option<bool> _speed = new("--speed") { Description = "Also measure prefill and decode speed, as 'bench model' does." };
    private readonly Option<int> _prompt = CommonArguments.Positive("--prompt", 128, "With --speed: prompt length in tokens.");
    private readonly Option<int> _new = CommonArguments.Positive("--new", 32, "With --speed: new tokens.");
    private readonly Option<int> _repeat = CommonArguments.Positive("--repeat", 3, "With --speed: rounds; models alternate within a round.");
    private readonly Option<string?> _markdown = new("--markdown") { Description = "Also write the table as Markdown.", HelpName = "FILE" };
    private readonly Option<string?> _html = new("--html") { Description = "Also write a page with the table and plots.", HelpName = "FILE" };
    private readonly Option<int> _threads = CommonArguments.Threads();
    private readonly Option<bool> _noLibrary = CommonArguments.NoLibrary();

    /// <summary>Declares the verb.</summary>
    public EvaluateCommand()
        : base(
            "evaluate",
            "Put several models side by side against a reference: perplexity, KL divergence, agreement, size, memory and speed.",
            "ortquant evaluate model out/q8 out/q4 out/q3 --text wiki.test.raw --tokenizer model --max-tokens 8192",
            "ortquant evaluate model out/q4 out/q4-microsoft --speed --html report.html",
            "ortquant evaluate model.onnx model.q4.onnx --tokens test.i32 --markdown table.md --json")
    {
        Arguments.Add(_reference);
        Arguments.Add(_models);
        _text.AddTo(this);
        foreach (var option in (ReadOnlySpan<Option>)[_speed, _prompt, _new, _repeat, _markdown, _html, _threads, _noLibrary])
        {
            Options.Add(option);
        }
    }

    /// <inheritdoc/>
    protected override async Task<int> RunAsync(ParseResult arguments, CommandContext context)
    {
        _text.Validate(arguments);
        var reference = Named(arguments.GetValue(_reference)!);
        var models = arguments.GetValue(_models)!.Select(Named).ToArray();
        foreach (var file in (ReadOnlySpan<string?>)[arguments.GetValue(_markdown), arguments.GetValue(_html)]) RequireWritable(file);
        var session = new SessionSettings { Threads = arguments.GetValue(_threads), UseLibrary = !arguments.GetValue(_noLibrary) };
        var speed = arguments.GetValue(_speed)
            ? new ModelBenchmarkOptions
            {
                Prompt = arguments.GetValue(_prompt),
                New = arguments.GetValue(_new),
                Repeat = arguments.GetValue(_repeat),
                Session = session,
            }
            : null;

        var result = await context.RunAsync(progress =>
        {
            var sequences = Sequences(arguments, reference, session, progress, context.Cancellation);
            var options = new EvaluationOptions { Sequences = sequences, Session = session, Speed = speed };
            return ModelEvaluator.Evaluate(reference, models, options, progress.ForStages(), context.Cancellation);
        });

        var description = new EvaluationDescription(_text.Describe(arguments) ?? $"text that {reference.Name} wrote itself", Machine.Describe(), session.Threads, speed);
        var report = new EvaluationReport(result, description);
        Write(arguments.GetValue(_markdown), report.ToMarkdown, context);
        Write(arguments.GetValue(_html), () => EvaluationPage.Write(result, description), context);
        context.WriteResult(report.ToJson, report.Write);
        if (result.All.FirstOrDefault(model => !model.IsFinite) is not { } broken) return ExitCode.Ok;
        context.Log($"error: {broken.Name} returned NaN or an infinity");
        return ExitCode.Failed;
    }

    private IReadOnlyList<long[]> Sequences(
        ParseResult arguments, NamedModel reference, SessionSettings session, IProgress<StageProgress> progress, CancellationToken cancellation)
    {
        if (_text.AreGiven(arguments))
        {
            progress.Report(new StageProgress("reading text", 0, 0));
            return _text.Read(arguments);
        }

        // Few ids, because writing them is slow; the standard error in the table says what they are worth.
        var wanted = _text.MaxTokens(arguments) is { } ids ? (int)Math.Clamp(ids / (OwnText.NewTokens + 1), 1, 1 << 20) : OwnSequences;
        return OwnText.Sample(reference.File, session, seed: 1, cancellation, wanted, progress.For("writing text"))
            ?? throw new RunningException($"{reference.Name} writes no text itself (no language model with a cache); give --text FILE --tokenizer DIR, or --tokens FILE");
    }

    private static NamedModel Named(string argument) =>
        new(argument.Length > 1 ? argument.TrimEnd('/') : argument, ModelPath.Resolve(argument).File);

    // Said before the work, not after it.
    private static void RequireWritable(string? file)
    {
        if (file is null) return;
        if (Directory.Exists(file)) throw new UsageException($"{file} is a folder; give the name of a file");
        if (Path.GetDirectoryName(Path.GetFullPath(file)) is { } folder && !Directory.Exists(folder)) throw new UsageException($"no such folder: {folder}");
    }

    private static void Write(string? file, Func<string> content, CommandContext context)
    {
        if (file is null) return;
        OutputFile.Write(Path.GetFullPath(file), Encoding.UTF8.GetBytes(content()));
        context.Log($"wrote {file}");
    }
}
