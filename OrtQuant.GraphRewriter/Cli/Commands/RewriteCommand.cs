using System.CommandLine;
using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Cli.Commands;

/// <summary><c>ortquant rewrite</c>: a model in, a smaller model out.</summary>
internal sealed class RewriteCommand : ToolCommand
{
    private readonly Argument<string> _model = CommonArguments.Model();
    private readonly Option<string> _output = new("--output", "-o") { Description = "The model to write: a file for a file, a folder for a folder.", HelpName = "OUT", Required = true };
    private readonly PlanArguments _plan = new();
    private readonly Option<bool> _verify = new("--verify") { Description = "Run the result: check the kernels against the dequantized weights, and report the loss." };
    private readonly Option<double?> _maxKl = new("--max-kl") { Description = "With --verify: fail (exit code 1) when the mean KL divergence is above X nats.", HelpName = "X" };
    private readonly Option<int> _threads = CommonArguments.Threads();

    /// <summary>Declares the verb.</summary>
    public RewriteCommand()
        : base(
            "rewrite",
            "Quantize the weights of a model and rewrite its graph to the ops that read them.",
            "ortquant rewrite models/stories260k -o out/stories260k --verify",
            "ortquant rewrite model.onnx -o model.q4.onnx",
            "ortquant rewrite model.onnx -o model.q4.onnx --quality fast",
            "ortquant rewrite model.onnx -o model.q8.onnx --bits 8 --accuracy-level float",
            "ortquant rewrite model -o out/model --adapter my-lora",
            "ortquant rewrite model.onnx -o model.q.onnx --bits 4.5 --sensitivity measured",
            "ortquant rewrite model -o out/model --plan plan.json")
    {
        Arguments.Add(_model);
        Options.Add(_output);
        _plan.AddTo(this);
        foreach (var option in (ReadOnlySpan<Option>)[_verify, _maxKl, _threads]) Options.Add(option);
    }

    /// <inheritdoc/>
    protected override async Task<int> RunAsync(ParseResult arguments, CommandContext context)
    {
        var maxKl = arguments.GetValue(_maxKl);
        if (maxKl is { } limit && !(limit >= 0)) throw new UsageException($"--max-kl is {limit}; it must be 0 or more");
        if (maxKl is not null && !arguments.GetValue(_verify)) throw new UsageException("--max-kl needs --verify");
        var createPlan = _plan.Read(arguments);
        var input = ModelPath.Resolve(arguments.GetValue(_model)!);
        var output = OutputPath.Resolve(arguments.GetValue(_output)!, input);
        var threads = arguments.GetValue(_threads);

        var options = new RewriteOptions { Threads = threads, CancellationToken = context.Cancellation };
        RewriteOptions Calibrated(QuantizationPlan plan) =>
            plan.UsesStatistics ? options with { Calibration = _plan.Calibration.Read(arguments, input.File, _plan.Gathering(arguments, plan)) } : options;

        var (result, plan) = await context.RunAsync(progress => Rewrite(input, output, createPlan, Calibrated, progress, context.Cancellation));
        if (result.Calibration?.Fallback is { } reason) context.Log($"note: rounded to nearest, because the model cannot be calibrated: {reason}");
        var verification = arguments.GetValue(_verify)
            ? await context.RunAsync(progress => RewriteVerifier.Verify(
                input.File, output.File, ComparisonSettings(threads), progress.For("verifying"), context.Cancellation))
            : null;
        context.WriteResult(() => ToJson(result, verification), text => RewriteReport.Write(result, plan, verification, arguments.GetValue(_output)!, text));
        return Judge(verification, maxKl, context);
    }

    /// <summary>Plans, and writes what the plan says where the user wants it.</summary>
    internal static (RewriteResult Result, QuantizationPlan Plan) Rewrite(
        ModelPath input,
        OutputPath output,
        PlanMaker createPlan,
        Func<QuantizationPlan, RewriteOptions> createOptions,
        IProgress<StageProgress> progress,
        CancellationToken cancellation)
    {
        progress.Report(new StageProgress("planning", 0, 0, Path.GetFileName(input.File)));
        using var model = OnnxModel.Load(input.File);
        var plan = createPlan(model, progress, cancellation);
        var options = createOptions(plan) with { Progress = new Relay(progress) };
        using var folder = output.Folder is null ? null : OutputFolder.Begin(output.Folder);
        var name = Path.GetFileName(output.File);
        if (folder is not null) ModelFolder.Carry(input.Folder!, folder.Path, name, plan, model.ExternalFiles, cancellation);

        var result = ModelRewriter.Rewrite(model, plan, folder is null ? output.File : Path.Combine(folder.Path, name), options);
        folder?.Commit();
        return (result with { Path = output.File }, plan);
    }

    private static ComparisonOptions ComparisonSettings(int threads)
    {
        var settings = new SessionSettings { Threads = threads };
        return new ComparisonOptions { Reference = settings, Model = settings };
    }

    private static JsonObject ToJson(RewriteResult result, Verification? verification)
    {
        var json = result.ToJson();
        if (verification is null) return json;
        var compare = ComparisonReport.ToJson(verification.Loss);
        compare["kernels"] = new JsonArray([.. verification.Kernels.Select(check => new JsonObject
        {
            ["level"] = check.Level,
            ["node"] = check.Node,
            ["ops"] = check.Ops,
            ["relative_l2"] = JsonNumber.Of(check.RelativeL2),
            ["limit"] = check.Limit,
            ["passed"] = check.Passed,
        })]);
        compare["whole_graph_relative_l2"] = JsonNumber.Of(verification.WholeGraph);
        json["compare"] = compare;
        return json;
    }

    private static int Judge(Verification? verification, double? maxKl, CommandContext context)
    {
        if (verification is null) return ExitCode.Ok;
        if (verification.Kernels.FirstOrDefault(check => !check.Passed) is { } failed)
        {
            context.Log($"error: the {failed.Level} kernel of '{failed.Node}' is {failed.RelativeL2:g3} from the dequantized weights (relative L2); at most {failed.Limit:g3} is right");
            return ExitCode.Failed;
        }

        if (!verification.Passed)
        {
            context.Log("error: a model returned NaN or an infinity");
            return ExitCode.Failed;
        }

        if (maxKl is { } limit && !(verification.Loss.KlMean <= limit))
        {
            context.Log(verification.Loss.KlMean is { } mean
                ? $"error: mean KL divergence {mean:g4} is above --max-kl {limit:g4}"
                : "error: --max-kl needs an output 'logits', which this model has not");
            return ExitCode.Failed;
        }

        return ExitCode.Ok;
    }

    /// <summary>The library's progress as the tool shows it.</summary>
    private sealed class Relay(IProgress<StageProgress> target) : IProgress<RewriteProgress>
    {
        public void Report(RewriteProgress value) => target.Report(new StageProgress(value.Stage, value.Done, value.Total, value.Item));
    }
}
