using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Benchmarks;
using OrtQuant.GraphRewriter.Calibration;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Recommendation;
using OrtQuant.GraphRewriter.Rewriting;

namespace OrtQuant.GraphRewriter.Cli.Commands;

/// <summary><c>ortquant recommend</c>: the smallest model within a limit of loss, found by trying.</summary>
internal sealed class RecommendCommand : ToolCommand
{
    private readonly Argument<string> _model = CommonArguments.Model();
    private readonly Option<string> _maxLoss = new("--max-loss") { Description = "Most that the perplexity may rise, e.g. 1% or 0.01.", HelpName = "X", DefaultValueFactory = _ => "1%" };
    private readonly Option<string?> _maxBytes = new("--max-bytes") { Description = "Most bytes of graph and data, e.g. 92MB.", HelpName = "SIZE" };
    private readonly TextArguments _text = new();
    private readonly Option<string?> _output = new("--output", "-o") { Description = "Write the model that is recommended: a file for a file, a folder for a folder.", HelpName = "OUT" };
    private readonly Option<int> _threads = CommonArguments.Threads();

    /// <summary>Declares the verb.</summary>
    public RecommendCommand()
        : base(
            "recommend",
            "Find the smallest model that loses no more than permitted: tries recipes, measures them, and says which.",
            "ortquant recommend models/stories260k --max-loss 2%",
            "ortquant recommend model --max-loss 1% --text wiki.test.raw --tokenizer model --max-tokens 4096 -o out/model",
            "ortquant recommend model.onnx --max-bytes 100MB --max-loss 10% --json")
    {
        Arguments.Add(_model);
        Options.Add(_maxLoss);
        Options.Add(_maxBytes);
        _text.AddTo(this);
        Options.Add(_output);
        Options.Add(_threads);
    }

    /// <inheritdoc/>
    protected override async Task<int> RunAsync(ParseResult arguments, CommandContext context)
    {
        _text.Validate(arguments);
        var maxLoss = Share(arguments.GetValue(_maxLoss)!);
        var maxBytes = arguments.GetValue(_maxBytes) is { } size ? AllocationArguments.Bytes(size) : (long?)null;
        var input = ModelPath.Resolve(arguments.GetValue(_model)!);
        var output = arguments.GetValue(_output) is { } path ? OutputPath.Resolve(path, input) : null;
        var threads = arguments.GetValue(_threads);

        var result = await context.RunAsync(progress =>
        {
            var options = new RecommendationOptions
            {
                MaxLoss = maxLoss,
                MaxBytes = maxBytes,
                Sequences = _text.AreGiven(arguments) ? _text.Read(arguments) : null,
                Threads = threads,
            };
            var result = Recommender.Recommend(input.File, options, progress.ForStages(), context.Cancellation);
            if (result.Best is { } best && output is not null) Write(input, output, best.Plan, threads, progress, context.Cancellation);
            return result;
        });

        var report = new RecommendationReport(result, maxLoss, maxBytes, arguments.GetValue(_model)!, arguments.GetValue(_output), Machine.Describe());
        context.WriteResult(report.ToJson, report.Write);
        if (result.Best is not null) return ExitCode.Ok;
        context.Log($"error: nothing that was tried is within {Percent(maxLoss)} of the original's perplexity{(maxBytes is { } most ? $" and {most} bytes" : "")}");
        return ExitCode.Failed;
    }

    /// <summary>A share as text.</summary>
    internal static string Percent(double share) => string.Create(CultureInfo.InvariantCulture, $"{100 * share:0.##} %");

    private static void Write(ModelPath input, OutputPath output, QuantizationPlan plan, int threads, IProgress<StageProgress> progress, CancellationToken cancellation)
    {
        var options = new RewriteOptions
        {
            Threads = threads,
            CancellationToken = cancellation,
            Calibration = plan.UsesStatistics ? QualityRecipe.CalibrationOf(plan) with { Required = false } : null,
        };
        RewriteCommand.Rewrite(input, output, (_, _, _) => plan, _ => options, progress, cancellation);
    }

    private static double Share(string text)
    {
        var isPercent = text.EndsWith('%');
        return double.TryParse(isPercent ? text[..^1] : text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value) && double.IsFinite(value)
            ? value / (isPercent ? 100 : 1)
            : throw new UsageException($"--max-loss is '{text}'; it must be a share such as 1% or 0.01");
    }
}
