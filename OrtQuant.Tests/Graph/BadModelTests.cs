using Google.Protobuf;
using Onnx;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.Tests.Support;
using static OrtQuant.Tests.Support.ModelBuilder;

namespace OrtQuant.Tests.Graphs;

/// <summary>A model is untrusted input: whatever it holds, reading ends in a model or in one clear line.</summary>
[TestClass]
public sealed class BadModelTests
{
    private const ElementType F32 = ElementType.Float32;

    private static IEnumerable<object[]> Malformed =>
    [
        Case("no graph", new ModelProto { IrVersion = 8 }, "no graph"),
        Case("cycle", Unary().Node("Add", ["x", "b"], ["a"]).Node("Neg", ["a"], ["b"]).Output("b", F32, 4), "depends on its own output"),
        Case("own output", Unary().Node("Neg", ["a"], ["a"]).Output("a", F32, 4), "depends on its own output"),
        Case("cycle through a branch", BranchCycle(), "depends on its own output"),
        Case("undefined input", Unary().Node("Neg", ["nowhere"], ["y"]).Output("y", F32, 4), "'nowhere', which nothing produces"),
        Case("undefined output", Unary().Output("nowhere", F32, 4), "'nowhere' is produced by no node"),
        Case("two producers", Unary().Node("Neg", ["x"], ["y"]).Node("Abs", ["x"], ["y"]).Output("y", F32, 4), "'y'"),
        Case("two initializers", Unary().Weight("w", F32, 1, 4).Weight("w", F32, 2, 4).Node("Add", ["x", "w"], ["y"]).Output("y", F32, 4), "'w'"),
        Case("node writes an input", Unary().Node("Neg", ["x"], ["x"]).Output("x", F32, 4), "'x'"),
        Case("negative dimension", With(new TensorProto { DataType = 1, Dims = { -4 }, FloatData = { 1 } }), "[-4]; each must be 0 or more"),
        Case("huge dimensions", With(new TensorProto { DataType = 1, Dims = { 1L << 40, 1L << 40 } }), "'w'", "[1099511627776, 1099511627776]"),
        Case("huge without data", With(new TensorProto { DataType = 1, Dims = { 1L << 40 } }), "'w'", "4398046511104"),
        Case("unknown type", With(new TensorProto { DataType = 99, Dims = { 1 }, RawData = ByteString.CopyFrom(0) }), "'w'", "99"),
        Case("no type", With(new TensorProto { Dims = { 1 }, RawData = ByteString.CopyFrom(0) }), "'w'", "Undefined"),
        Case("too little raw data", With(new TensorProto { DataType = 1, Dims = { 3 }, RawData = ByteString.CopyFrom(new byte[8]) }), "'w'", "8 bytes", "12"),
        Case("too much raw data", With(new TensorProto { DataType = 1, Dims = { 1 }, RawData = ByteString.CopyFrom(new byte[5000]) }), "'w'", "5000", "4"),
        Case("too many values", With(new TensorProto { DataType = 1, Dims = { 1 }, FloatData = { 1, 2 } }), "'w'", "8 bytes", "4"),
        Case("values in the wrong field", With(new TensorProto { DataType = 1, Dims = { 1 }, Int64Data = { 1 } }), "'w'", "0 bytes", "4"),
        Case("a segment", With(new TensorProto { DataType = 1, Dims = { 1 }, FloatData = { 1 }, Segment = new TensorProto.Types.Segment { Begin = 0, End = 1 } }), "'w'", "segment"),
        Case("bad Constant", Unary().Node("Constant", [], ["w"], Constant(new TensorProto { Name = "value", DataType = 1, Dims = { 2 } })).Node("Add", ["x", "w"], ["y"]).Output("y", F32, 4), "'value'", "0 bytes"),
    ];

    [TestMethod]
    [DynamicData(nameof(Malformed))]
    public void MalformedModelIsRefusedInOneLine(string name, byte[] bytes, string[] parts)
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("model.onnx");
        File.WriteAllBytes(path, bytes);
        var error = Assert.ThrowsExactly<ModelFormatException>(() => OnnxModel.Load(path).Dispose(), name);
        AssertOneLine(error, path);
        foreach (var part in parts) StringAssert.Contains(error.Message, part);
    }

    [TestMethod]
    public void EmptyFileIsRefused() => AssertRefused([], "empty");

    [TestMethod]
    public void TextIsRefused() => AssertRefused("version https://git-lfs.github.com/spec/v1\n"u8.ToArray(), "not an ONNX model");

    [TestMethod]
    public void MissingFileIsNamed()
    {
        using var folder = new TemporaryFolder();
        var error = Assert.Throws<IOException>(() => OnnxModel.Load(folder.File("none.onnx")).Dispose());
        StringAssert.Contains(error.Message, "none.onnx");
    }

    [TestMethod]
    public void NestingWithoutEndIsRefused()
    {
        var body = Body("innermost", inner => inner.Node("Neg", ["x"], ["r"]).Output("r", F32, 4));
        for (var depth = 0; depth < 200; depth++)
        {
            var inside = body;
            body = Body("body", outer => outer.Node("If", ["flag"], ["r"], ModelBuilder.Graph("then_branch", inside)).Output("r", F32, 4));
        }

        var model = Unary().Input("flag", ElementType.Bool).Node("If", ["flag"], ["y"], ModelBuilder.Graph("then_branch", body)).Output("y", F32, 4);
        AssertRefused(model.Proto.ToByteArray(), "nested");
    }

    [TestMethod]
    public void EveryTruncationIsRefused()
    {
        using var folder = new TemporaryFolder();
        var whole = File.ReadAllBytes(Rich(folder));
        var path = folder.File("cut.onnx");
        var random = new Random(1);

        // Every length of the first part, where most kinds of fields begin, then lengths all over.
        foreach (var length in Enumerable.Range(0, 300).Concat(Enumerable.Range(0, 300).Select(_ => random.Next(whole.Length))).Where(length => length < whole.Length))
        {
            File.WriteAllBytes(path, whole[..length]);
            ReadOrRefuse(path, $"cut at {length}");
        }
    }

    [TestMethod]
    [DataRow(1)]
    [DataRow(2)]
    [DataRow(3)]
    public void MutationsAreReadOrRefused(int seed)
    {
        using var folder = new TemporaryFolder();
        var whole = File.ReadAllBytes(Rich(folder));
        var path = folder.File("mutated.onnx");
        var random = new Random(seed);
        var refused = 0;
        for (var i = 0; i < 500; i++)
        {
            var bytes = Mutate(whole, random);
            File.WriteAllBytes(path, bytes);
            if (!ReadOrRefuse(path, $"seed {seed}, mutation {i}")) refused++;
        }

        Assert.IsGreaterThan(50, refused, "mutations that are hardly ever noticed test nothing");
    }

    [TestMethod]
    public void RandomBytesAreRefused()
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("random.onnx");
        var random = new Random(5);
        for (var i = 0; i < 300; i++)
        {
            var bytes = new byte[random.Next(1, 3000)];
            random.NextBytes(bytes);
            File.WriteAllBytes(path, bytes);
            Assert.IsFalse(ReadOrRefuse(path, $"random file {i}"));
        }
    }

    /// <summary>Reads, edits and saves; false where the model is refused with one line.</summary>
    private static bool ReadOrRefuse(string path, string what)
    {
        try
        {
            using var model = OnnxModel.Load(path);
            foreach (var node in model.AllGraphs.SelectMany(graph => graph.Nodes)) _ = node.Outputs.Select(output => output?.Constant?.ByteLength).ToList();
            ModelWriter.Save(model, Path.Combine(Path.GetDirectoryName(path)!, "out", "saved.onnx"));
            return true;
        }
        catch (ModelFormatException error)
        {
            AssertOneLine(error, path);
            return false;
        }
        catch (Exception error) when (error is not AssertFailedException)
        {
            throw new AssertFailedException($"{what}: {error.GetType().Name}: {error.Message}", error);
        }
    }

    private static byte[] Mutate(byte[] whole, Random random)
    {
        var bytes = whole.ToList();
        for (var edits = random.Next(1, 5); edits > 0; edits--)
        {
            var at = random.Next(bytes.Count);
            switch (random.Next(4))
            {
                case 0:
                    bytes[at] = (byte)random.Next(256);
                    break;
                case 1:
                    bytes[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 2:
                    bytes.RemoveRange(at, Math.Min(bytes.Count - at, random.Next(1, 20)));
                    break;
                default:
                    bytes.InsertRange(at, bytes.GetRange(at, Math.Min(bytes.Count - at, random.Next(1, 60))));
                    break;
            }
        }

        return [.. bytes];
    }

    /// <summary>A model with a bit of everything that the reader looks at, and little bulk, so that mutations meet structure.</summary>
    private static string Rich(TemporaryFolder folder)
    {
        var model = GraphFixtures.IfMergedDecoder();
        model.Node("Constant", [], ["c"], Constant(Tensor("value", F32, [2], [1, 2]))).Opset("local", 1)
            .Function(GraphFixtures.ModelLocalFunction().Proto.Functions[0].Clone());
        var shared = model.Proto.Graph.Initializer[0];
        GraphFixtures.MoveToFile(folder.Path, shared, "weights.bin", 64);
        foreach (var branch in model.Proto.Graph.Node[1].Attribute) GraphFixtures.MoveToFile(folder.Path, branch.G.Initializer[0], $"{branch.Name}.bin", 0);
        return model.Save(folder.Path);
    }

    private static void AssertRefused(byte[] bytes, string part)
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("model.onnx");
        File.WriteAllBytes(path, bytes);
        var error = Assert.ThrowsExactly<ModelFormatException>(() => OnnxModel.Load(path).Dispose());
        AssertOneLine(error, path);
        StringAssert.Contains(error.Message, part);
    }

    private static void AssertOneLine(ModelFormatException error, string path)
    {
        StringAssert.Contains(error.Message, path);
        Assert.IsFalse(error.Message.AsSpan().ContainsAny('\r', '\n'), error.Message);
        Assert.IsLessThan(2000, error.Message.Length);
    }

    private static ModelBuilder Unary() => new ModelBuilder().Input("x", F32, 4);

    private static ModelBuilder With(TensorProto tensor)
    {
        tensor.Name = "w";
        return Unary().Initializer(tensor).Node("Add", ["x", "w"], ["y"]).Output("y", F32, 4);
    }

    private static ModelBuilder BranchCycle()
    {
        var body = Body("branch", inner => inner.Node("Neg", ["later"], ["r"]).Output("r", F32, 4));
        return Unary().Input("flag", ElementType.Bool)
            .Node("If", ["flag"], ["now"], ModelBuilder.Graph("then_branch", body), ModelBuilder.Graph("else_branch", body.Clone()))
            .Node("Abs", ["now"], ["later"]).Output("later", F32, 4);
    }

    private static object[] Case(string name, ModelBuilder model, params string[] parts) => Case(name, model.Proto, parts);

    private static object[] Case(string name, ModelProto model, params string[] parts) => [name, model.ToByteArray(), parts];
}
