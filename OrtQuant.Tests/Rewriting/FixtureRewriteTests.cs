using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Matching;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Rewriting;

/// <summary>Every kind of graph, rewritten at 8 bits: what is packed, what is left alone and why, and that the result computes the same.</summary>
[TestClass]
public sealed class FixtureRewriteTests
{
    // 8 bits in groups of 32 on normal weights: 0.5 % a layer; the deepest fixture has four.
    private const double Loss = 0.02;

    // float16 activations round to 11 bits at every node, in either form.
    private const double HalfPrecision = 2e-3;
    private const double SinglePrecision = 1e-5;

    [TestMethod]
    [DataRow("if-merged-decoder", 3, "")]
    [DataRow("loop-body", 1, "")]
    [DataRow("scan-body", 1, "")]
    [DataRow("model-local-function", 2, "")]
    [DataRow("function-with-forwarded-type", 1, "")]
    [DataRow("expert-weights-3d", 0, "weight has shape [4, 32, 48], a matrix for each batch or expert; it must be one matrix")]
    [DataRow("external-files", 4, "")]
    [DataRow("constant-weights", 1, "")]
    [DataRow("gemm-flags", 3, "")]
    [DataRow("shared-initializer", 1, "")]
    [DataRow("initializer-inputs", 1, "weight 'w1' is also a graph input, so a caller may replace it; it must be an initializer only")]
    [DataRow("shadowed-names", 3, "")]
    [DataRow("single-float32-weight", 2, "")]
    [DataRow("unsorted-nodes", 1, "")]
    [DataRow("two-models", 1, "")]
    public void EveryGraphIsRewrittenOrSaysWhy(string name, int packed, string skipped)
    {
        using var folder = new TemporaryFolder();
        var source = GraphFixtures.Get(name).Write(folder.File("in", ""));
        var expected = FixtureRunner.Run(source);
        foreach (var activations in Enum.GetValues<ActivationType>())
        {
            var io = activations == ActivationType.Float32 ? InterfaceType.Float32 : InterfaceType.Keep;
            var options = new PlanOptions { Bits = 8, AccuracyLevel = 1, Activations = activations, Io = io };
            var (path, plan) = Rewrite(source, folder.File($"out-{activations}", "model.onnx"), options);
            Assert.HasCount(packed, plan.Weights);
            Assert.AreEqual(skipped, string.Join("; ", plan.Skipped.Select(node => node.Reason)));
            using (var rewritten = OnnxModel.Load(path))
            {
                var left = WeightMatcher.Match(rewritten);
                Assert.AreEqual(0, left.Weights.Where(weight => weight.Matrix.Quantized is null).Sum(weight => weight.Linears.Count), "a matrix product was neither packed nor listed");
                Assert.AreEqual(plan.Skipped.Count, left.Skipped.Count(node => node.Op is "MatMul" or "Gemm" && node.Reason == skipped));
            }

            var tolerance = activations == ActivationType.Float32 ? SinglePrecision : HalfPrecision;
            var kernels = FixtureRunner.Run(path, new SessionSettings());
            var functions = FixtureRunner.Run(path);
            Assert.IsLessThan(Loss, FixtureRunner.RelativeError(expected, kernels), $"{activations}: the loss of 8 bits");
            Assert.IsLessThan(tolerance, FixtureRunner.RelativeError(functions, kernels), $"{activations}: kernels against function bodies");
        }
    }

    [TestMethod]
    public void EveryFixtureIsTested()
    {
        // bfloat16 has no CPU kernels to compare with; it has a test of its own.
        var tested = typeof(FixtureRewriteTests).GetMethod(nameof(EveryGraphIsRewrittenOrSaysWhy))!
            .GetCustomAttributes(typeof(DataRowAttribute), false).Cast<DataRowAttribute>().Select(row => (string)row.Data[0]!).Append("bfloat16");
        CollectionAssert.AreEquivalent(GraphFixtures.All.Select(fixture => fixture.Name).ToArray(), tested.ToArray());
    }

    [TestMethod]
    public void BFloat16RunsOnTheCpuAfterwards()
    {
        using var folder = new TemporaryFolder();
        var source = GraphFixtures.Get("bfloat16").Write(folder.File("in", ""));
        var (path, plan) = Rewrite(source, folder.File("out", "model.onnx"), new PlanOptions { Bits = 8, Io = InterfaceType.Float32 });
        Assert.HasCount(1, plan.Weights);
        Assert.IsTrue(FixtureRunner.Run(path, new SessionSettings()).All(value => value is > 0 and < 1), "a sigmoid lies between 0 and 1");

        using var model = OnnxModel.Load(source);
        var kept = QuantizationPlan.Create(model, new PlanOptions { Activations = ActivationType.Keep });
        Assert.AreEqual("activations are bfloat16; MatMulNBits takes float32 and float16", kept.Skipped.Single().Reason);
    }

    [TestMethod]
    public void WrongCodeIsNoticed()
    {
        // Negative control: the comparisons above can fail.
        using var folder = new TemporaryFolder();
        var source = GraphFixtures.Get("unsorted-nodes").Write(folder.File("in", ""));
        var (path, _) = Rewrite(source, folder.File("out", "model.onnx"), new PlanOptions { Bits = 8, AccuracyLevel = 1 });
        var before = FixtureRunner.Run(path, new SessionSettings());
        var model = Onnx.ModelProto.Parser.ParseFrom(File.ReadAllBytes(path));
        var codes = model.Graph.Initializer.Single(tensor => tensor.Name == "w.W");
        var bytes = codes.RawData.ToByteArray();
        bytes[0] ^= 0x80;
        codes.RawData = Google.Protobuf.ByteString.CopyFrom(bytes);
        File.WriteAllBytes(path, Google.Protobuf.MessageExtensions.ToByteArray(model));
        Assert.IsGreaterThan(HalfPrecision, FixtureRunner.RelativeError(before, FixtureRunner.Run(path, new SessionSettings())));
    }

    [TestMethod]
    [DataRow("if-merged-decoder")]
    [DataRow("external-files")]
    [DataRow("model-local-function")]
    public void BytesDoNotDependOnThreads(string name)
    {
        using var folder = new TemporaryFolder();
        var source = GraphFixtures.Get(name).Write(folder.File("in", ""));
        var files = new[] { 1, 2, 5 }.Select(threads =>
        {
            var path = folder.File($"out-{threads}", "model.onnx");
            Rewrite(source, path, new PlanOptions { Bits = 3 }, threads);
            return File.ReadAllBytes(path);
        }).ToList();
        CollectionAssert.AreEqual(files[0], files[1]);
        CollectionAssert.AreEqual(files[0], files[2]);
    }

    [TestMethod]
    public void PlanGivenBackDoesTheSame()
    {
        using var folder = new TemporaryFolder();
        var source = GraphFixtures.Get("shared-initializer").Write(folder.File("in", ""));
        var (first, plan) = Rewrite(source, folder.File("first", "model.onnx"), new PlanOptions { Bits = 4 });
        using var model = OnnxModel.Load(source);
        var second = ModelRewriter.Rewrite(model, QuantizationPlan.FromJson(plan.ToJson()), folder.File("second", "model.onnx")).Path;
        CollectionAssert.AreEqual(File.ReadAllBytes(first), File.ReadAllBytes(second));
    }

    [TestMethod]
    [DataRow(float.NaN)]
    [DataRow(float.PositiveInfinity)]
    public void WeightThatIsNotFiniteIsNamedAndNothingIsWritten(float bad)
    {
        using var folder = new TemporaryFolder();
        var values = new float[64 * 48];
        values[77] = bad;
        var source = new ModelBuilder().Input("x", ElementType.Float32, "b", 64).Output("y", ElementType.Float32, "b", 48)
            .Initializer(ModelBuilder.Tensor("w", ElementType.Float32, [64, 48], values)).Node("MatMul", ["x", "w"], ["y"]).Save(folder.File("in", ""));
        using var model = OnnxModel.Load(source);
        var output = folder.File("out", "model.onnx");
        var error = Assert.ThrowsExactly<OrtQuantException>(() => ModelRewriter.Rewrite(model, QuantizationPlan.Create(model), output));
        Assert.Contains("'w'", error.Message);
        Assert.IsEmpty(Directory.GetFiles(Path.GetDirectoryName(output)!));
    }

    [TestMethod]
    public void CancelledRewriteLeavesNothing()
    {
        using var folder = new TemporaryFolder();
        var source = GraphFixtures.Get("external-files").Write(folder.File("in", ""));
        using var model = OnnxModel.Load(source);
        using var cancellation = new CancellationTokenSource();
        var options = new RewriteOptions
        {
            CancellationToken = cancellation.Token,
            Progress = new Inline(progress =>
            {
                if (progress.Stage == "quantizing") cancellation.Cancel();
            }),
        };
        var output = folder.File("out", "model.onnx");
        Assert.Throws<OperationCanceledException>(() => ModelRewriter.Rewrite(model, QuantizationPlan.Create(model), output, options));
        Assert.IsEmpty(Directory.GetFiles(Path.GetDirectoryName(output)!));
    }

    private static (string Path, QuantizationPlan Plan) Rewrite(string source, string output, PlanOptions options, int threads = 0)
    {
        using var model = OnnxModel.Load(source);
        var plan = QuantizationPlan.Create(model, options);
        return (ModelRewriter.Rewrite(model, plan, output, new RewriteOptions { Threads = threads }).Path, plan);
    }

    private sealed class Inline(Action<RewriteProgress> report) : IProgress<RewriteProgress>
    {
        public void Report(RewriteProgress value) => report(value);
    }
}
