using Google.Protobuf;
using Onnx;
using OrtQuant.GraphRewriter.Cli;
using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Comparison;

[TestClass]
public sealed class RewriteVerifierTests
{
    private static readonly ComparisonOptions Options = new() { Reference = new SessionSettings { Threads = 1 }, Model = new SessionSettings { Threads = 1 } };
    private static readonly string Original = Path.Combine(TestFiles.Stories260K, "model.onnx");

    [TestMethod]
    public async Task KernelsOfAHalfPrecisionModelAreWithinTheFloatLimit()
    {
        using var folder = new TemporaryFolder();
        var rewritten = await RewriteAsync(folder, Original, "--bits", "8", "--accuracy-level", "1");

        var verification = RewriteVerifier.Verify(Original, rewritten, Options);

        var check = verification.Kernels.Single();
        Assert.AreEqual("float", check.Level);
        Assert.IsTrue(check.Passed, $"{check}");
        Assert.AreEqual(1e-5, check.Limit);
        // The loss of quantization is another matter, and there is one.
        Assert.IsGreaterThan(1e-3, verification.Loss.RelativeL2);
    }

    [TestMethod]
    public async Task HalfActivationsInsideHaveALimitOfTheirOwn()
    {
        using var folder = new TemporaryFolder();
        var rewritten = await RewriteAsync(folder, Original, "--bits", "8", "--accuracy-level", "1", "--activations", "keep");

        var check = RewriteVerifier.Verify(Original, rewritten, Options).Kernels.Single();

        Assert.IsTrue(check.Passed, $"{check}");
        Assert.IsGreaterThan(1e-5, check.Limit);
    }

    [TestMethod]
    public async Task EveryOpIsCheckedAtItsLevel()
    {
        using var folder = new TemporaryFolder();
        var rewritten = await RewriteAsync(folder, Original, "--bits", "4");

        var verification = RewriteVerifier.Verify(Original, rewritten, Options);

        // 5 layers of 4 products and the head, and the embedding's Gather, which rounds no activations.
        CollectionAssert.AreEqual(new[] { ("float", 22), ("int8", 21) }, verification.Kernels.Select(check => (check.Level, check.Ops)).ToArray());
        Assert.IsTrue(verification.Passed, string.Join(", ", verification.Kernels));
        Assert.AreEqual(1e-3, verification.Kernels[1].Limit);
    }

    [TestMethod]
    public async Task AWrongKernelIsNamed()
    {
        // The function body of one op gives twice what its kernel does: a kernel that is wrong by as much would look the same.
        using var folder = new TemporaryFolder();
        var rewritten = await RewriteAsync(folder, Original, "--bits", "4");
        var model = ModelProto.Parser.ParseFrom(File.ReadAllBytes(rewritten));
        var node = model.Graph.Node.Where(node => node.OpType == "MatMulNBits").ElementAt(2);
        var wrong = model.Functions.First(function => function.Name == node.OpType && function.Overload == node.Overload).Clone();
        node.Overload = wrong.Overload = "wrong";
        wrong.Node.Last(last => last.Output[0] == "Y").Output[0] = "half";
        wrong.Node.Add(new NodeProto { OpType = "Add", Input = { "half", "half" }, Output = { "Y" } });
        model.Functions.Add(wrong);
        model.IrVersion = Math.Max(model.IrVersion, 10);
        File.WriteAllBytes(rewritten, model.ToByteArray());

        var verification = RewriteVerifier.Verify(Original, rewritten, Options);

        Assert.IsFalse(verification.Passed);
        Assert.AreEqual(node.Name, verification.Kernels[0].Node);
        Assert.AreEqual(0.5, verification.Kernels[0].RelativeL2, 1e-3);
        Assert.AreEqual(node.Name, verification.Kernels[1].Node);
    }

    [TestMethod]
    [DataRow("2", "16")]
    [DataRow("3", "32")]
    [DataRow("4", "64")]
    public async Task WidthsAreWithinTheLimits(string bits, string group)
    {
        using var folder = new TemporaryFolder();
        var rewritten = await RewriteAsync(folder, Original, "--bits", bits, "--group-size", group);
        var verification = RewriteVerifier.Verify(Original, rewritten, Options);
        Assert.IsTrue(verification.Passed, string.Join(", ", verification.Kernels));
        Assert.HasCount(2, verification.Kernels);
    }

    [TestMethod]
    public async Task FileWithoutConfigurationBesideItIsVerifiedWithTheOriginals()
    {
        using var folder = new TemporaryFolder();
        var original = Path.Combine(TestFiles.Optional("models/zoo/genai/llama-fp16-cuda"), "model.onnx");
        var rewritten = await RewriteAsync(folder, original, "--bits", "8", "--accuracy-level", "1");

        Assert.IsTrue(RewriteVerifier.Verify(original, rewritten, Options).Passed);
    }

    [TestMethod]
    public async Task OneChangedCodeIsFound()
    {
        using var folder = new TemporaryFolder();
        var rewritten = await RewriteAsync(folder, Original, "--bits", "4");
        var copy = folder.File("changed", "model.onnx");
        foreach (var file in Directory.GetFiles(Path.GetDirectoryName(rewritten)!))
        {
            File.Copy(file, Path.Combine(Path.GetDirectoryName(copy)!, Path.GetFileName(file)));
        }

        FlipOneCode(copy);

        Assert.IsGreaterThan(0, ModelComparer.Compare(rewritten, copy, Options).MaxAbs);
        Assert.AreEqual(0, ModelComparer.Compare(rewritten, rewritten, Options).MaxAbs);
    }

    [TestMethod]
    public void OnlyEdgesWithACastBecomeFloat32()
    {
        var graph = new GraphProto
        {
            Input = { Value("cast_in"), Value("used_in") },
            Output = { Value("cast_out"), Value("made_out") },
            Node =
            {
                Cast("cast_in", "x", TensorProto.Types.DataType.Float),
                new NodeProto { OpType = "Identity", Input = { "used_in" }, Output = { "made_out" } },
                Cast("x", "cast_out", TensorProto.Types.DataType.Float16),
            },
        };

        Assert.IsFalse(Float32Interface.Apply(graph), "half precision is left");

        CollectionAssert.AreEqual(new[] { 1, 10 }, graph.Input.Select(input => input.Type.TensorType.ElemType).ToArray());
        CollectionAssert.AreEqual(new[] { 1, 10 }, graph.Output.Select(output => output.Type.TensorType.ElemType).ToArray());
        Assert.AreEqual(1, graph.Node[2].Attribute[0].I);
    }

    private static async Task<string> RewriteAsync(TemporaryFolder folder, string model, params string[] options)
    {
        var output = folder.File("out", "model.onnx");
        using var error = new StringWriter();
        var code = await CommandLine.RunAsync(["rewrite", model, "-o", output, "--quality", "fast", .. options], TextWriter.Null, error, CancellationToken.None);
        Assert.AreEqual(ExitCode.Ok, code, error.ToString());
        return output;
    }

    // The first packed weight: in the graph itself or in a data file beside it.
    private static void FlipOneCode(string path)
    {
        var model = ModelProto.Parser.ParseFrom(File.ReadAllBytes(path));
        var node = model.Graph.Node.First(node => node is { Domain: "ortquant", OpType: "MatMulNBits" });
        var tensor = model.Graph.Initializer.Single(initializer => initializer.Name == node.Input[1]);
        var external = tensor.ExternalData.ToDictionary(entry => entry.Key, entry => entry.Value);
        var file = external.TryGetValue("location", out var location) ? Path.Combine(Path.GetDirectoryName(path)!, location) : path;
        var bytes = File.ReadAllBytes(file);
        var offset = location is null ? bytes.AsSpan().IndexOf(tensor.RawData.Span) : int.Parse(external.GetValueOrDefault("offset", "0"));
        bytes[offset] ^= 0x08;
        File.WriteAllBytes(file, bytes);
    }

    private static ValueInfoProto Value(string name) =>
        new() { Name = name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)TensorProto.Types.DataType.Float16 } } };

    private static NodeProto Cast(string input, string output, TensorProto.Types.DataType type) => new()
    {
        OpType = "Cast",
        Input = { input },
        Output = { output },
        Attribute = { new AttributeProto { Name = "to", Type = AttributeProto.Types.AttributeType.Int, I = (long)type } },
    };
}
