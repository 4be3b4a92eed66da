using Microsoft.ML.OnnxRuntime;
using OrtQuant.Attention;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.GraphRewriter.Transforms;
using OrtQuant.GraphRewriter.Transforms.Attention;
using OrtQuant.Tests.EndToEnd;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Transforms;

/// <summary>The same results from one operator a layer, with our kernel and with its function body, under any mask.</summary>
[TestClass]
public sealed class FuseAttentionTests
{
    // Float32 graphs: the order of sums. What the next layers make of it stays within this.
    private const double Limit = 2e-5;

    private static readonly string[] Fused = ["gemma2-fp16", "llama-fp16", "llama-untied-bias-fp16", "opt-fp16", "phi-fp32", "qwen2-fp16"];

    public static IEnumerable<object[]> FusedGraphs => Fused.Select(name => new object[] { name });

    [TestMethod]
    [DynamicData(nameof(FusedGraphs))]
    public void ExportersGraphsComputeTheSame(string name)
    {
        using var folder = new TemporaryFolder();
        var (source, fused) = Prepare(name, folder);
        foreach (var library in new[] { true, false })
        {
            var settings = new SessionSettings { UseLibrary = library };
            var result = ModelComparer.Compare(source, fused, new ComparisonOptions { Reference = settings, Model = settings });
            Assert.IsLessThan(Limit, result.RelativeL2, library ? "kernel" : "function body");
        }
    }

    [TestMethod]
    [DynamicData(nameof(FusedGraphs))]
    public void MasksOfAnyKindMeanTheSame(string name)
    {
        using var folder = new TemporaryFolder();
        var (source, fused) = Prepare(name, folder);
        foreach (var (mask, past) in Masks())
        {
            var expected = Run(source, mask, past, library: false);
            foreach (var library in new[] { true, false })
            {
                var actual = Run(fused, mask, past, library);
                foreach (var (output, values) in expected)
                {
                    Assert.IsLessThan(Limit, Difference(values, actual[output]), $"{output}, {mask.Length} sequences, past {past}, library {library}");
                }
            }
        }
    }

    [TestMethod]
    public void AnotherMaskGivesOtherResults()
    {
        using var folder = new TemporaryFolder();
        var (_, fused) = Prepare("llama-fp16", folder);
        var (all, first) = (Run(fused, [[1, 1, 1, 1]], 1, library: true), Run(fused, [[0, 1, 1, 1]], 1, library: true));
        Assert.IsGreaterThan(1e-3, Difference(all["logits"], first["logits"]));
    }

    [TestMethod]
    [DynamicData(nameof(ZooTests.Graphs), typeof(ZooTests))]
    public void OtherGraphsAreLeftAloneWithAReason(string file)
    {
        using var model = OnnxModel.Load(TestFiles.Optional($"models/zoo/{file}"));
        using var simplified = model.Clone();
        new SimplifyShapes().Apply(simplified);
        var before = simplified.AllGraphs.Sum(graph => graph.Nodes.Count);
        var (count, unfused) = AttentionFuser.Run(simplified);
        var softmaxes = model.AllGraphs.Sum(graph => graph.Nodes.Count(node => node.OpType == "Softmax"));
        Assert.AreEqual(softmaxes, count + unfused.Count);
        Assert.IsFalse(unfused.Any(left => left.Reason.Length == 0));
        if (count == 0) Assert.AreEqual(before, simplified.AllGraphs.Sum(graph => graph.Nodes.Count));
        if (Fused.Any(name => file.Contains($"/{name}", StringComparison.Ordinal))) Assert.AreEqual(softmaxes, count, string.Join("; ", unfused.Select(left => left.Reason)));
    }

    [TestMethod]
    public void APlanNamesItUnlessItIsNotWanted()
    {
        using var model = OnnxModel.Load(TestFiles.Optional("models/zoo/optimum/llama-fp16/model.onnx"));
        CollectionAssert.AreEqual(
            new[] { "simplify-shapes", "fuse-attention", "simplify-shapes", "float32-activations", "fuse-norms" },
            QuantizationPlan.Create(model).Transforms.Select(transform => transform.Name).Where(name => !name.StartsWith("merge", StringComparison.Ordinal) && !name.StartsWith("share", StringComparison.Ordinal)).ToArray());
        Assert.IsEmpty(Names(new PlanOptions { Fuse = false }));
        CollectionAssert.AreEqual(new[] { "fuse-norms" }, Names(new PlanOptions { Emit = EmittedOps.Microsoft }), "the operator needs the library");
        CollectionAssert.AreEqual(new[] { "fuse-norms" }, Names(new PlanOptions { Target = RewriteTarget.Cuda, Activations = ActivationType.Float32 }));

        string[] Names(PlanOptions options) => [.. QuantizationPlan.Create(model, options).Transforms.Select(transform => transform.Name).Where(name => name.StartsWith("fuse", StringComparison.Ordinal))];
    }

    [TestMethod]
    public void TheCacheStaysHalf()
    {
        using var folder = new TemporaryFolder();
        using var model = OnnxModel.Load(TestFiles.Optional("models/zoo/optimum/llama-fp16/model.onnx"));
        Apply(model, InterfaceType.Keep);
        foreach (var node in model.Graph.Nodes.Where(node => node.OpType == MaskedAttentionOp.Description.Name))
        {
            Assert.IsTrue(node.Inputs[3]!.IsGraphInput && node.Inputs[4]!.IsGraphInput, "the cache is read as it is given");
            Assert.IsTrue(node.Outputs[1]!.IsGraphOutput && node.Outputs[2]!.IsGraphOutput);
        }

        using var session = SessionFactory.Open(ModelWriter.Save(model, folder.File("model.onnx")).GraphPath, new SessionSettings());
        Assert.AreEqual(typeof(Float16), session.OutputMetadata["present.0.key"].ElementType);
    }

    /// <summary>Attention masks of several sequences, one number for each key, and how many of those are past.</summary>
    private static IEnumerable<(long[][] Mask, int Past)> Masks()
    {
        yield return ([[1, 1, 1, 1, 1]], 0);
        yield return ([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 1, 1, 1, 1]], 0);
        yield return ([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], 0);
        yield return ([[0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]], 5);
        yield return ([[0, 1, 1, 1, 1, 1], [1, 0, 1, 0, 1, 1]], 2);
        yield return ([[0, 0, 0, 0]], 0);
    }

    /// <summary>Float32 inside and out, so that only the order of sums differs; the second model fused.</summary>
    private static (string Source, string Fused) Prepare(string name, TemporaryFolder folder)
    {
        var file = TestFiles.Optional($"models/zoo/optimum/{name}/model.onnx");
        foreach (var beside in Directory.GetFiles(Path.GetDirectoryName(file)!, "*.json")) File.Copy(beside, folder.File(Path.GetFileName(beside)), overwrite: true);
        using var model = OnnxModel.Load(file);
        using var reference = model.Clone();
        if (Float32Activations.IsNeeded(reference)) new Float32Activations(InterfaceType.Float32).Apply(reference);
        using var fused = model.Clone();
        Apply(fused, InterfaceType.Float32);
        return (ModelWriter.Save(reference, folder.File("reference.onnx")).GraphPath, ModelWriter.Save(fused, folder.File("fused.onnx")).GraphPath);
    }

    private static void Apply(OnnxModel model, InterfaceType io)
    {
        new SimplifyShapes().Apply(model);
        new FuseAttention().Apply(model);
        new SimplifyShapes().Apply(model);
        if (Float32Activations.IsNeeded(model)) new Float32Activations(io).Apply(model);
        new FuseNorms().Apply(model);
        Assert.IsEmpty(FunctionEmitter.Attach(model, OpCatalog.All));
        Assert.IsNotEmpty(model.Proto.Functions);
    }

    private static Dictionary<string, float[]> Run(string path, long[][] mask, int past, bool library)
    {
        using var session = SessionFactory.Open(path, new SessionSettings { UseLibrary = library });
        var (batch, keys) = (mask.Length, mask[0].Length);
        var tokens = keys - past;
        var random = new Random(5);
        var inputs = new Dictionary<string, OrtValue>();
        foreach (var (name, data) in session.InputMetadata)
        {
            inputs[name] = name switch
            {
                "attention_mask" => OrtValue.CreateTensorValueFromMemory(mask.SelectMany(row => row).ToArray(), [batch, keys]),
                "position_ids" => OrtValue.CreateTensorValueFromMemory(mask.SelectMany(row => Positions(row).Skip(past)).ToArray(), [batch, tokens]),
                "input_ids" => OrtValue.CreateTensorValueFromMemory(Enumerable.Range(0, batch * tokens).Select(_ => (long)random.Next(300)).ToArray(), [batch, tokens]),
                _ => Past(data.Dimensions),
            };
        }

        using var options = new RunOptions();
        using var results = session.Run(options, inputs, session.OutputNames);
        foreach (var input in inputs.Values) input.Dispose();
        return session.OutputNames.Zip(results).ToDictionary(pair => pair.First, pair => pair.Second.GetTensorDataAsSpan<float>().ToArray());

        OrtValue Past(int[] shape) => OrtValue.CreateTensorValueFromMemory(
            Enumerable.Range(0, batch * shape[1] * past * shape[3]).Select(_ => random.NextSingle() - 0.5f).ToArray(), [batch, shape[1], past, shape[3]]);
    }

    /// <summary>As decoders count: hidden keys do not.</summary>
    private static IEnumerable<long> Positions(long[] mask)
    {
        var position = 0L;
        foreach (var seen in mask) yield return seen == 0 ? 1 : position++;
    }

    private static double Difference(float[] expected, float[] actual)
    {
        Assert.HasCount(expected.Length, actual);
        var (error, norm) = (0.0, 1e-12);
        for (var i = 0; i < expected.Length; i++)
        {
            error += Math.Pow(expected[i] - actual[i], 2);
            norm += Math.Pow(expected[i], 2);
        }

        return Math.Sqrt(error / norm);
    }
}
