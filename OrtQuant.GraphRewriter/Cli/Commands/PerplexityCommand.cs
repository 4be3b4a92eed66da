using System.CommandLine;
using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Cli.Commands;

/// <summary><c>ortquant perplexity</c>: how well a model predicts a text.</summary>
internal sealed class PerplexityCommand : ToolCommand
{
    private readonly Argument<string> _model = CommonArguments.Model();
    private readonly TextArguments _text = new();
    private readonly Option<int> _threads = CommonArguments.Threads();
    private readonly Option<bool> _noLibrary = CommonArguments.NoLibrary();

    /// <summary>Declares the verb.</summary>
    public PerplexityCommand()
        : base(
            "perplexity",
            "Measure the perplexity of a language model on a text.",
            "ortquant perplexity out/model --text wiki.test.raw --tokenizer out/model --max-tokens 20480",
            "ortquant perplexity model.onnx --tokens test.i32 --context 1024 --json",
            "ortquant perplexity models/stories260k --text stories.txt --tokenizer models/stories260k --bos --separator '<|endoftext|>'")
    {
        Arguments.Add(_model);
        _text.AddTo(this);
        Options.Add(_threads);
        Options.Add(_noLibrary);
    }

    /// <inheritdoc/>
    protected override async Task<int> RunAsync(ParseResult arguments, CommandContext context)
    {
        if (!_text.AreGiven(arguments))
        {
            throw new UsageException("give --text FILE --tokenizer DIR, or --tokens FILE");
        }

        _text.Validate(arguments);
        var path = ModelPath.Resolve(arguments.GetValue(_model)!);
        var settings = new SessionSettings { Threads = arguments.GetValue(_threads), UseLibrary = !arguments.GetValue(_noLibrary) };
        var result = await context.RunAsync(progress =>
        {
            progress.Report(new StageProgress("reading text", 0, 0));
            var sequences = _text.Read(arguments);
            progress.Report(new StageProgress("opening model", 0, 0, Path.GetFileName(path.File)));
            using var model = LanguageModel.Open(path.File, settings);
            return Perplexity.Measure(model, sequences, progress.For("scoring"), context.Cancellation);
        });

        context.WriteResult(
            () => new JsonObject
            {
                ["perplexity"] = JsonNumber.Of(result.Value),
                ["tokens"] = result.Tokens,
                ["seconds"] = Math.Round(result.Seconds, 3),
            },
            text => text.WriteLine($"perplexity {result.Value:0.0000} over {result.Tokens} tokens ({result.Seconds:0.0} s)"));
        return ExitCode.Ok;
    }
}
