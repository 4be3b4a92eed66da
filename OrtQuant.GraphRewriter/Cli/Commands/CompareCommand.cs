using System.CommandLine;
using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Cli.Commands;

/// <summary><c>ortquant compare</c>: how far a model is from its reference.</summary>
internal sealed class CompareCommand : ToolCommand
{
    private readonly Argument<string> _reference = CommonArguments.Model("REF", "The reference: an .onnx file, or a folder that holds one.");
    private readonly Argument<string> _model = CommonArguments.Model();
    private readonly TextArguments _text = new();
    private readonly Option<double?> _maxKl = new("--max-kl") { Description = "Fail (exit code 1) when the mean KL divergence is above X nats.", HelpName = "X" };
    private readonly Option<int> _seed = new("--seed") { Description = "Seed of made inputs.", HelpName = "S", DefaultValueFactory = _ => 1 };
    private readonly Option<int> _threads = CommonArguments.Threads();
    private readonly Option<bool> _noLibrary = CommonArguments.NoLibrary();

    /// <summary>Declares the verb.</summary>
    public CompareCommand()
        : base(
            "compare",
            "Cross-check a model with its reference: on a text, or on made inputs, covering every output and a step with past.",
            "ortquant compare model out/model",
            "ortquant compare model out/model --text wiki.test.raw --tokenizer model --max-tokens 4096 --max-kl 0.1",
            "ortquant compare model.onnx model.q4.onnx --tokens test.i32 --json")
    {
        Arguments.Add(_reference);
        Arguments.Add(_model);
        _text.AddTo(this);
        foreach (var option in (ReadOnlySpan<Option>)[_maxKl, _seed, _threads, _noLibrary])
        {
            Options.Add(option);
        }
    }

    /// <inheritdoc/>
    protected override async Task<int> RunAsync(ParseResult arguments, CommandContext context)
    {
        _text.Validate(arguments);
        var maxKl = arguments.GetValue(_maxKl);
        if (maxKl is { } limit && !(limit >= 0))
        {
            throw new UsageException($"--max-kl is {limit}; it must be 0 or more");
        }

        var (reference, model) = (ModelPath.Resolve(arguments.GetValue(_reference)!), ModelPath.Resolve(arguments.GetValue(_model)!));
        var settings = new SessionSettings { Threads = arguments.GetValue(_threads), UseLibrary = !arguments.GetValue(_noLibrary) };
        var result = await context.RunAsync(progress =>
        {
            progress.Report(new StageProgress("reading inputs", 0, 0));
            var options = new ComparisonOptions
            {
                Sequences = _text.AreGiven(arguments) ? _text.Read(arguments) : null,
                Reference = settings,
                Model = settings,
                Seed = arguments.GetValue(_seed),
            };
            return ModelComparer.Compare(reference.File, model.File, options, progress.For("comparing"), context.Cancellation);
        });
        context.WriteResult(() => ComparisonReport.ToJson(result), text => ComparisonReport.Write(result, text));
        return Judge(result, maxKl, context);
    }

    private static int Judge(ComparisonResult result, double? maxKl, CommandContext context)
    {
        if (!result.IsFinite)
        {
            context.Log("error: a model returned NaN or an infinity");
            return ExitCode.Failed;
        }

        if (maxKl is not { } limit)
        {
            return ExitCode.Ok;
        }

        if (result.KlMean is not { } mean)
        {
            context.Log("error: --max-kl needs an output 'logits', which this model has not");
            return ExitCode.Failed;
        }

        if (mean > limit)
        {
            context.Log($"error: mean KL divergence {mean:g4} is above --max-kl {limit:g4}");
            return ExitCode.Failed;
        }

        return ExitCode.Ok;
    }
}
