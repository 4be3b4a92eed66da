using Google.Protobuf;
using Onnx;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Comparison;

/// <summary>How far the kernels of a model's ops are from the dequantized weights, and how far they may be: the op that comes nearest to its limit.</summary>
/// <param name="Level">What was run: <c>float</c> activations, or <c>int8</c> ones.</param>
/// <param name="RelativeL2">Relative L2 error of that op's output.</param>
/// <param name="Limit">The limit for that op.</param>
/// <param name="Node">The op's node.</param>
/// <param name="Ops">Ops that were checked.</param>
public sealed record KernelCheck(string Level, double RelativeL2, double Limit, string Node, int Ops)
{
    /// <summary>The kernels compute what they should. NaN is no pass.</summary>
    public bool Passed => RelativeL2 <= Limit;
}

/// <summary>What <c>rewrite --verify</c> found.</summary>
/// <param name="Kernels">Checks of the kernels, op by op; empty where the model has none of ours.</param>
/// <param name="WholeGraph">Relative L2 error of the worst output of the graph with the library against the graph without it; null where it cannot run without.</param>
/// <param name="Loss">The rewritten model against the original.</param>
public sealed record Verification(IReadOnlyList<KernelCheck> Kernels, double? WholeGraph, ComparisonResult Loss)
{
    /// <summary>Every kernel check passed and both models gave numbers.</summary>
    public bool Passed => Kernels.All(check => check.Passed) && double.IsFinite(WholeGraph ?? 0) && Loss.IsFinite;
}

/// <summary>
/// Checks a rewritten model in two ways that say different things. The kernels against the dequantized weights: every op with the native
/// library, against the same op as its function body, on the inputs that it meets in the graph: once in float, once at the level it was written for. Limits are
/// those of the schemes, for one op, whatever the model. What the difference amounts to over the whole graph is reported: layers amplify the
/// one rounding of an activation that two right computations can differ in. The
/// rewritten model against the original: the loss that quantization costs, which is reported.
/// </summary>
public static class RewriteVerifier
{
    private const int FloatLevel = 1;
    private const int Int8Level = 4;

    // Two results on either side of a rounding border, in every element.
    private const double HalfOutput = 1.0 / (1 << 10);

    /// <summary>Runs the checks.</summary>
    /// <param name="originalFile">The model before.</param>
    /// <param name="rewrittenFile">The model after.</param>
    /// <param name="options">
    /// How to open the models, both with the library, and the sequences to measure the loss on; without any, a language model writes its
    /// own, and other models get made inputs.
    /// </param>
    /// <param name="progress">Told checks done and in all.</param>
    /// <param name="cancellation">Ends the verification with an exception.</param>
    /// <exception cref="RunningException">A model cannot be opened or run.</exception>
    public static Verification Verify(
        string originalFile, string rewrittenFile, ComparisonOptions options, IProgress<(int Done, int Total)>? progress = null, CancellationToken cancellation = default)
    {
        const int Steps = 3;
        progress?.Report((0, Steps));
        var model = ModelProto.Parser.ParseFrom(File.ReadAllBytes(rewrittenFile));
        Float32Interface.Apply(model.Graph);
        var made = options with { Sequences = null, ConfigurationOf = originalFile };
        var kernels = CheckKernels(rewrittenFile, model, made, cancellation);
        progress?.Report((1, Steps));
        double? wholeGraph = null;
        if (kernels.Count > 0 && HasBodies(model))
        {
            var graph = model.ToByteArray();
            var both = made with { Reference = made.Reference with { UseLibrary = false, Graph = graph }, Model = made.Model with { Graph = graph } };
            wholeGraph = ModelComparer.Compare(rewrittenFile, rewrittenFile, both, null, cancellation).RelativeL2;
        }

        progress?.Report((2, Steps));
        var text = options.Sequences ?? OwnText.Sample(originalFile, options.Reference, options.Seed, cancellation);
        var loss = ModelComparer.Compare(originalFile, rewrittenFile, options with { Sequences = text }, null, cancellation);
        progress?.Report((Steps, Steps));
        return new Verification(kernels, wholeGraph, loss);
    }

    private static List<KernelCheck> CheckKernels(string file, ModelProto model, ComparisonOptions options, CancellationToken cancellation)
    {
        var checks = new List<KernelCheck>();
        if (!ProtoWalk.Nodes(model.Graph).Any(IsOurs)) return checks;
        using var probes = new OpProbes(file, model, options, cancellation);
        var ops = probes.Ops.Where(op => HasBody(model, op.Node)).ToList();
        Add("float", ops, FloatLevel, (op, quality) => quality.FloatLevel);

        // Functions quantize activations as kernels do, so what is seen are the kernels and not the level.
        Add("int8", [.. ops.Where(op => op.Attribute("accuracy_level") == Int8Level)], null, (op, quality) => RoundsActivations(model, op) ? quality.Int8Level : quality.Int8LevelOfExactBody);
        return checks;

        void Add(string level, IReadOnlyList<ProbedOp> some, int? forced, Func<ProbedOp, SchemeQuality, double> limitOf)
        {
            var worst = probes.Compare(some, forced, cancellation)
                .Select(difference => (Difference: difference, Limit: Math.Max(limitOf(difference.Op, QualityOf(difference.Op)), difference.IsHalf ? HalfOutput : 0)))
                .OrderByDescending(check => double.IsNaN(check.Difference.RelativeL2) ? double.PositiveInfinity : check.Difference.RelativeL2 / check.Limit)
                .Take(1).ToList();
            checks.AddRange(worst.Select(check => new KernelCheck(level, check.Difference.RelativeL2, check.Limit, check.Difference.Op.Name, some.Count)));
        }
    }

    private static SchemeQuality QualityOf(ProbedOp op) =>
        SchemeCatalog.All.First(scheme => scheme.Ops.Any(known => known.Name == op.Node.OpType)).Quality;

    private static bool RoundsActivations(ModelProto model, ProbedOp op)
    {
        var inputs = op.Node.Input.Select((name, i) => name.Length == 0 ? (ElementType?)null : i == 0 ? ElementType.Float32 : (ElementType)op.Constants[name].DataType).ToArray();
        var opset = model.OpsetImport.First(import => import.Domain is "" or "ai.onnx").Version;
        return SchemeCatalog.All.Select(scheme => scheme.Op).First(known => known.Name == op.Node.OpType)
            .Fallback(FunctionEmitter.CallOf(op.Node, inputs, (int)opset)) is not { RoundsActivations: false };
    }

    private static bool IsOurs(NodeProto node) => node.Domain == OpProbes.Domain;

    private static bool HasBody(ModelProto model, NodeProto node) =>
        model.Functions.Any(function => function.Domain == node.Domain && function.Name == node.OpType && function.Overload == node.Overload);

    private static bool HasBodies(ModelProto model) => ProtoWalk.Nodes(model.Graph).Where(IsOurs).All(node => HasBody(model, node));
}
