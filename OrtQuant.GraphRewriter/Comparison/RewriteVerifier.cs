using Google.Protobuf;
using Onnx;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Comparison;

/// <summary>How far the kernels are from the dequantized weights over the whole graph, and how far they may be.</summary>
/// <param name="Level">What was run: <c>float</c> activations, or <c>int8</c> ones.</param>
/// <param name="RelativeL2">Relative L2 error of the worst output.</param>
/// <param name="Limit">The scheme's limit.</param>
public sealed record KernelCheck(string Level, double RelativeL2, double Limit)
{
    /// <summary>The kernels compute what they should. NaN is no pass.</summary>
    public bool Passed => RelativeL2 <= Limit;
}

/// <summary>What <c>rewrite --verify</c> found.</summary>
/// <param name="Kernels">Checks of the kernels; empty where the model has none of ours.</param>
/// <param name="Loss">The rewritten model against the original.</param>
public sealed record Verification(IReadOnlyList<KernelCheck> Kernels, ComparisonResult Loss)
{
    /// <summary>Every kernel check passed and both models gave numbers.</summary>
    public bool Passed => Kernels.All(check => check.Passed) && Loss.IsFinite;
}

/// <summary>
/// Checks a rewritten model in two ways that say different things. The kernels against the dequantized weights: the graph with the native
/// library, against the same graph without it, where every op is its function body: once in float, once at the level it was written for. Limits are
/// those of the schemes, whatever the model. The
/// rewritten model against the original: the loss that quantization costs, which is reported.
/// </summary>
public static class RewriteVerifier
{
    private const string Domain = "ortquant";
    private const string AccuracyLevel = "accuracy_level";
    private const int FloatLevel = 1;
    private const int Int8Level = 4;
    // Relative rounding error of float16 is 4.9e-4; it adds up over the nodes of a graph.
    private const double HalfActivations = 5e-3;

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
        var graph = ModelProto.Parser.ParseFrom(File.ReadAllBytes(rewrittenFile));
        var levels = ProtoWalk.Nodes(graph.Graph).Select(Level).OfType<long>().ToHashSet();
        var schemes = SchemeCatalog.All.Where(scheme => ProtoWalk.Nodes(graph.Graph).Any(node => node.Domain == Domain && node.OpType == scheme.Op.Name)).ToList();
        var kernels = new List<KernelCheck>();
        var total = 1 + (schemes.Count == 0 ? 0 : levels.Contains(Int8Level) ? 2 : 1);
        if (schemes.Count > 0)
        {
            // Half-precision activations inside round anew at every node, which no limit below that rounding can look through.
            var least = Float32Interface.Apply(graph.Graph) ? 0 : HalfActivations;
            var asWritten = graph.ToByteArray();
            foreach (var node in ProtoWalk.Nodes(graph.Graph)) SetLevel(node, FloatLevel);
            var atFloat = graph.ToByteArray();
            var made = options with { Sequences = null, ConfigurationOf = originalFile };
            Check("float", schemes.Max(scheme => scheme.Quality.FloatLevel), atFloat);
            if (levels.Contains(Int8Level))
            {
                // Functions quantize activations as kernels do, so what is seen are the kernels and not the level.
                Check("int8", schemes.Max(scheme => scheme.Quality.Int8Level), asWritten);
            }

            void Check(string level, double limit, byte[] variant)
            {
                progress?.Report((kernels.Count, total));
                var check = made with
                {
                    Reference = made.Reference with { UseLibrary = false, Graph = variant },
                    Model = made.Model with { Graph = variant },
                };
                var result = ModelComparer.Compare(rewrittenFile, rewrittenFile, check, null, cancellation);
                kernels.Add(new KernelCheck(level, result.RelativeL2, Math.Max(limit, least)));
            }
        }

        progress?.Report((kernels.Count, total));
        var text = options.Sequences ?? OwnText.Sample(originalFile, options.Reference, options.Seed, cancellation);
        var loss = ModelComparer.Compare(originalFile, rewrittenFile, options with { Sequences = text }, null, cancellation);
        progress?.Report((total, total));
        return new Verification(kernels, loss);
    }

    private static long? Level(NodeProto node) =>
        node.Domain == Domain ? node.Attribute.FirstOrDefault(attribute => attribute.Name == AccuracyLevel)?.I : null;

    private static void SetLevel(NodeProto node, int level)
    {
        if (node.Domain != Domain) return;
        foreach (var attribute in node.Attribute.Where(attribute => attribute.Name == AccuracyLevel)) attribute.I = level;
    }
}
