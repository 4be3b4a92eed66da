using System.CommandLine;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;

namespace OrtQuant.GraphRewriter.Cli.Commands;

/// <summary><c>ortquant plan</c>: what <c>rewrite</c> would do with the same options, and why.</summary>
internal sealed class PlanCommand : ToolCommand
{
    private readonly Argument<string> _model = CommonArguments.Model();
    private readonly PlanArguments _plan = new();

    /// <summary>Declares the verb.</summary>
    public PlanCommand()
        : base(
            "plan",
            "Show what rewrite would do with the same options, and why.",
            "ortquant plan models/stories260k",
            "ortquant plan model.onnx --bits 3 --exclude lm_head",
            "ortquant plan model.onnx --max-bytes 92MB",
            "ortquant plan model.onnx --json > plan.json    # edit it, then: ortquant rewrite model.onnx -o out.onnx --plan plan.json")
    {
        Arguments.Add(_model);
        _plan.AddTo(this);
    }

    /// <inheritdoc/>
    protected override async Task<int> RunAsync(ParseResult arguments, CommandContext context)
    {
        var create = _plan.Read(arguments);
        var path = ModelPath.Resolve(arguments.GetValue(_model)!);
        var plan = await context.RunAsync(progress =>
        {
            progress.Report(new StageProgress("planning", 0, 0, Path.GetFileName(path.File)));
            using var model = OnnxModel.Load(path.File);
            var created = create(model, progress, context.Cancellation);
            created.CheckAgainst(model, context.Cancellation);
            return created;
        });
        context.WriteResult(plan.ToJson, output => PlanReport.Write(plan, output));
        return ExitCode.Ok;
    }
}
