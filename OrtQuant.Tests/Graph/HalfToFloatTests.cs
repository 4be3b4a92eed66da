using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Transforms;
using OrtQuant.Tests.Support;
using static OrtQuant.Tests.Support.ModelBuilder;

namespace OrtQuant.Tests.Graphs;

[TestClass]
public sealed class HalfToFloatTests
{
    [TestMethod]
    public void CastsBetweenFloatTypesDisappear()
    {
        var model = Converted(GraphFixtures.SingleFloat32Weight(), convertInterface: true);
        Assert.IsEmpty(model.Graph.Nodes.Where(node => node.OpType == "Cast"));
    }

    [TestMethod]
    public void CastsStandAtTheEdgesOnly()
    {
        var model = Converted(GraphFixtures.SingleFloat32Weight(), convertInterface: false);
        var casts = model.Graph.Nodes.Where(node => node.OpType == "Cast").ToList();
        Assert.HasCount(2, casts);
        Assert.IsTrue(casts[0].Inputs[0]!.IsGraphInput);
        Assert.IsTrue(casts[1].Outputs[0]!.IsGraphOutput);
    }

    [TestMethod]
    public void CastOfAnIntegerStays()
    {
        var model = Converted(
            new ModelBuilder().Input("ids", ElementType.Int64, 4).Node("Cast", ["ids"], ["h"], Int("to", 10)).Node("Sqrt", ["h"], ["y"]).Output("y", ElementType.Float16, 4),
            convertInterface: true);
        Assert.AreEqual("Cast", model.Graph.Nodes[0].OpType);
        Assert.AreEqual((long)ElementType.Float32, model.Graph.Nodes[0].GetInt("to", 0));
    }

    [TestMethod]
    public void CastOfAnUnknownTypeStays()
    {
        var model = Converted(
            new ModelBuilder().Opset("other", 1).Input("x", ElementType.Float16, 4)
                .Node(new Onnx.NodeProto { Domain = "other", OpType = "Unknown", Input = { "x" }, Output = { "u" } })
                .Node("Cast", ["u"], ["h"], Int("to", 10)).Node("Sqrt", ["h"], ["y"]).Output("y", ElementType.Float16, 4),
            convertInterface: true);
        Assert.AreEqual("Cast", model.Graph.Nodes[1].OpType);
    }

    [TestMethod]
    public void WeightsAreConvertedWhenTheyAreRead()
    {
        using var model = OnnxModel.FromProto(GraphFixtures.ExpertWeights().Proto);
        var before = model.Graph.Initializers[0].Constant!.ReadFloats();
        HalfToFloat.Run(model, convertInterface: false);
        var tensor = model.Graph.Initializers[0].Constant!;
        Assert.AreEqual(ElementType.Float32, tensor.Type);
        CollectionAssert.AreEqual(before, tensor.ReadFloats());
    }

    [TestMethod]
    public void ConvertedTensorsReadFromAnyByte()
    {
        var values = Enumerable.Range(0, 40_000).Select(i => (float)(Half)(i * 0.37f)).ToArray();
        var tensor = new ConvertedTensor(LazyTensor.FromFloats(ElementType.Float16, [values.Length], values));
        var all = tensor.ReadBytes();
        foreach (var (offset, count) in new[] { (0, 1), (1, 2), (3, 70_001), (65_535, 3), (159_999, 1), (160_000, 0), (7, 159_000) })
        {
            var part = new byte[count];
            tensor.Read(offset, part);
            CollectionAssert.AreEqual(all[offset..(offset + count)], part, $"{count} bytes from {offset}");
        }

        Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => tensor.Read(159_999, new byte[2]));
    }

    [TestMethod]
    public void PackedScalesKeepTheirType()
    {
        var builder = new ModelBuilder().Opset("ortquant", 1).Input("x", ElementType.Float16, 1, 32)
            .Weight("scales", ElementType.Float16, 1, 1, 1, 16)
            .Initializer(new Onnx.TensorProto { Name = "packed", DataType = 2, Dims = { 256 }, RawData = Google.Protobuf.ByteString.CopyFrom(new byte[256]) })
            .Node(new Onnx.NodeProto { Domain = "ortquant", OpType = "MatMulNBits", Input = { "x", "packed", "scales" }, Output = { "y" } })
            .Output("y", ElementType.Float16, 1, 16);
        var model = Converted(builder, convertInterface: true);
        Assert.AreEqual(ElementType.Float16, model.Graph.Nodes[0].Inputs[2]!.Type);
    }

    [TestMethod]
    public void GatheredTableStaysHalf()
    {
        var model = Converted(
            new ModelBuilder().Input("ids", ElementType.Int64, "n").Weight("table", ElementType.Float16, 1, 50, 32).Weight("w", ElementType.Float16, 2, 32, 48)
                .Node("Gather", ["table", "ids"], ["rows"]).Node("MatMul", ["rows", "w"], ["y"]).Output("y", ElementType.Float16, "n", 48),
            convertInterface: true);
        Assert.AreEqual(ElementType.Float16, model.Graph.Find("table")!.Constant!.Type);
        Assert.AreEqual(ElementType.Float32, model.Graph.Find("w")!.Constant!.Type);
        Assert.AreEqual("Gather Cast MatMul", string.Join(' ', model.Graph.Nodes.Select(node => node.OpType)));
        Assert.IsFalse(HalfToFloat.IsNeeded(model), "a second run has nothing to do");
    }

    [TestMethod]
    public void SparseInitializerIsConverted()
    {
        using var folder = new TemporaryFolder();
        var builder = new ModelBuilder().Input("x", ElementType.Float16, "n", 4).Node("Add", ["x", "w"], ["y"]).Output("y", ElementType.Float16, "n", 4);
        builder.Proto.Graph.SparseInitializer.Add(new Onnx.SparseTensorProto
        {
            Values = Tensor("w", ElementType.Float16, [2], [3, -5]),
            Indices = Tensor("", ElementType.Int64, [2], [1, 3]),
            Dims = { 4 },
        });
        var path = builder.Save(folder.Path);
        using var model = OnnxModel.Load(path);
        HalfToFloat.Run(model, convertInterface: false);
        var saved = ModelWriter.Save(model, folder.File("saved.onnx")).GraphPath;
        Assert.IsLessThan(1e-3, FixtureRunner.RelativeError(FixtureRunner.Run(path), FixtureRunner.Run(saved)));
    }

    [TestMethod]
    public void NodeThatAppendsToTheCacheStaysHalf()
    {
        using var folder = new TemporaryFolder();
        var builder = new ModelBuilder().Input("x", ElementType.Float16, 2, 3, 8).Input("past_key_values.0.key", ElementType.Float16, 2, "past", 8)
            .Weight("w", ElementType.Float16, 1, 8, 8)
            .Node("MatMul", ["x", "w"], ["k"]).Node("Concat", ["past_key_values.0.key", "k"], ["present.0.key"], Int("axis", 1))
            .Node("MatMul", ["present.0.key", "w"], ["y"])
            .Output("present.0.key", ElementType.Float16, 2, "total", 8).Output("y", ElementType.Float16, 2, "total", 8);
        var path = builder.Save(folder.Path);
        using var model = OnnxModel.Load(path);

        HalfToFloat.Run(model, convertInterface: false);

        var concat = model.Graph.Nodes.Single(node => node.OpType == "Concat");
        Assert.IsTrue(concat.Inputs[0]!.IsGraphInput, "past comes without a cast");
        Assert.IsTrue(concat.Outputs[0]!.IsGraphOutput, "present goes out without a cast");
        Assert.AreEqual((long)ElementType.Float16, concat.Inputs[1]!.Producer!.GetInt("to", 0));
        Assert.AreEqual(4, model.Graph.Nodes.Count(node => node.OpType == "Cast"), "x, the new rows, what reads present, y");
        var saved = ModelWriter.Save(model, folder.File("saved.onnx")).GraphPath;
        Assert.IsLessThan(1e-3, FixtureRunner.RelativeError(FixtureRunner.Run(path), FixtureRunner.Run(saved)));
    }

    [TestMethod]
    public void CacheBecomesFloat32WithTheInterface()
    {
        var model = Converted(
            new ModelBuilder().Input("k", ElementType.Float16, 2, 3, 8).Input("past_key_values.0.key", ElementType.Float16, 2, "past", 8)
                .Node("Concat", ["past_key_values.0.key", "k"], ["present.0.key"], Int("axis", 1)).Output("present.0.key", ElementType.Float16, 2, "total", 8),
            convertInterface: true);
        Assert.AreEqual("Concat", string.Join(' ', model.Graph.Nodes.Select(node => node.OpType)));
        Assert.AreEqual(ElementType.Float32, model.Graph.Outputs[0].Type);
    }

    [TestMethod]
    public void TableThatIsMultipliedByIsConverted()
    {
        using var model = OnnxModel.FromProto(GraphFixtures.SharedInitializer().Proto);
        HalfToFloat.Run(model, convertInterface: true);
        Assert.AreEqual(ElementType.Float32, model.Graph.Find("w")!.Constant!.Type);
    }

    [TestMethod]
    [DataRow("zoo/optimum")]
    [DataRow("zoo/genai")]
    [DataRow("zoo/extra")]
    public void ExportedModelsComputeTheSame(string models)
    {
        // float16 activations are rounded to 2^-11 at every step; a fp32 inside differs by that, and no more.
        const double Float16Noise = 1e-2;
        using var folder = new TemporaryFolder();
        var converted = 0;
        foreach (var path in Directory.GetFiles(TestFiles.Optional($"models/{models}"), "*.onnx", SearchOption.AllDirectories).Order())
        {
            using var model = OnnxModel.Load(path);
            if (!HalfToFloat.IsNeeded(model)) continue;
            HalfToFloat.Run(model, convertInterface: false);
            var saved = folder.File($"{converted++}", "model.onnx");
            ModelWriter.Save(model, saved);
            var result = ModelComparer.Compare(path, saved, new ComparisonOptions());
            Assert.IsLessThan(Float16Noise, result.RelativeL2, path);
            Assert.IsGreaterThan(0, result.RelativeL2, $"{path}: equal bits mean that nothing was converted");
        }

        Assert.IsGreaterThan(0, converted);
    }

    [TestMethod]
    public void Float32ModelNeedsNothing()
    {
        using var model = OnnxModel.FromProto(new ModelBuilder().Input("x", ElementType.Float32, 4).Node("Relu", ["x"], ["y"]).Output("y", ElementType.Float32, 4).Proto);
        Assert.IsFalse(HalfToFloat.IsNeeded(model));
    }

    private static OnnxModel Converted(ModelBuilder builder, bool convertInterface)
    {
        var model = OnnxModel.FromProto(builder.Proto);
        HalfToFloat.Run(model, convertInterface);
        return model;
    }
}
