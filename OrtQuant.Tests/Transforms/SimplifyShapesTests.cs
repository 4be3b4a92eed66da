using Microsoft.ML.OnnxRuntime;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.GraphRewriter.Transforms;
using OrtQuant.GraphRewriter.Transforms.Shapes;
using OrtQuant.Tests.EndToEnd;
using OrtQuant.Tests.Support;
using static OrtQuant.Tests.Support.ModelBuilder;

namespace OrtQuant.Tests.Transforms;

/// <summary>The same numbers bit for bit, from fewer nodes.</summary>
[TestClass]
public sealed class SimplifyShapesTests
{
    // Without ONNX Runtime's own rewriting, equal graphs give equal bits.
    private static readonly SessionSettings Plain = new() { UseLibrary = false, OptimizationLevel = GraphOptimizationLevel.ORT_DISABLE_ALL };

    [TestMethod]
    [DataRow(1, 1, 0)]
    [DataRow(1, 5, 3)]
    [DataRow(3, 4, 0)]
    [DataRow(3, 2, 7)]
    public void LayersShareTheirSizes(int batch, int length, int past)
    {
        using var folder = new TemporaryFolder();
        var source = Layers(new ModelBuilder(), 3).Save(folder.Path);
        var simplified = Simplify(source, folder, out var before, out var after);
        Assert.IsLessThan(before / 2, after, $"{before} nodes became {after}");
        CollectionAssert.AreEqual(Run(source, batch, length, past), Run(simplified, batch, length, past));
    }

    [TestMethod]
    public void OneLayerMoreCostsNoShapeArithmetic()
    {
        using var folder = new TemporaryFolder();
        Simplify(Layers(new ModelBuilder(), 3).Save(folder.Path, "3.onnx"), folder, out _, out var three);
        Simplify(Layers(new ModelBuilder(), 4).Save(folder.Path, "4.onnx"), folder, out _, out var four);

        // Reshape and Transpose in, Concat with the past, Unsqueeze, Expand, Reshape to repeat its heads, Add, Transpose and Reshape out.
        Assert.AreEqual(9, four - three);
    }

    [TestMethod]
    public void IntegerInputsMayBroadcastAgainstTheirNames()
    {
        // Positions [1, length] for a batch of 3, though both are declared [batch, length]: it runs before and must run afterwards.
        using var folder = new TemporaryFolder();
        var source = new ModelBuilder().Input("positions", ElementType.Int64, "batch", "length").Input("ids", ElementType.Int64, "batch", "length")
            .Node("Shape", ["positions"], ["p"]).Node("Gather", ["p", "zero"], ["p0"]).Node("Unsqueeze", ["p0", "axis"], ["p1"])
            .Node("Concat", ["p1", "rest"], ["positions_target"], Int("axis", 0)).Node("Reshape", ["positions", "positions_target"], ["a"])
            .Node("Shape", ["ids"], ["i"]).Node("Gather", ["i", "zero"], ["i0"]).Node("Unsqueeze", ["i0", "axis"], ["i1"])
            .Node("Concat", ["i1", "rest"], ["ids_target"], Int("axis", 0)).Node("Reshape", ["ids", "ids_target"], ["b"])
            .Node("Add", ["a", "b"], ["c"]).Node("Cast", ["c"], ["y"], Int("to", 1)).Output("y", ElementType.Float32, "batch", "length")
            .Initializer(Tensor("zero", ElementType.Int64, [], [0])).Initializer(Tensor("axis", ElementType.Int64, [1], [0]))
            .Initializer(Tensor("rest", ElementType.Int64, [1], [-1])).Save(folder.Path);
        var simplified = Simplify(source, folder, out _, out _);
        using var session = SessionFactory.Open(simplified, Plain);
        using var options = new RunOptions();
        using var positions = OrtValue.CreateTensorValueFromMemory([1L, 2L], [1, 2]);
        using var ids = OrtValue.CreateTensorValueFromMemory([10L, 20L, 30L, 40L, 50L, 60L], [3, 2]);
        using var results = session.Run(options, ["positions", "ids"], [positions, ids], ["y"]);
        CollectionAssert.AreEqual(new float[] { 11, 22, 31, 42, 51, 62 }, results[0].GetTensorDataAsSpan<float>().ToArray());
    }

    [TestMethod]
    public void WhatIsNotProvedStays()
    {
        // Sizes of inputs of different names, of an operator without a rule, and a value that the model gives out.
        var builder = new ModelBuilder().Opset("other", 1)
            .Input("a", ElementType.Float32, "n", 4).Input("b", ElementType.Float32, "m", 4)
            .Node(new Onnx.NodeProto { Domain = "other", OpType = "Unknown", Input = { "a" }, Output = { "u" } })
            .Node("Shape", ["a"], ["sa"]).Node("Shape", ["b"], ["sb"]).Node("Shape", ["u"], ["su"]).Node("Shape", ["a"], ["given"])
            .Node("RandomNormalLike", ["a"], ["r1"]).Node("RandomNormalLike", ["a"], ["r2"])
            .Node("Concat", ["sa", "sb", "su"], ["y"], Int("axis", 0)).Node("Add", ["r1", "r2"], ["z"])
            .Output("y", ElementType.Int64, 6).Output("z", ElementType.Float32, "n", 4).Output("given", ElementType.Int64, 2);
        using var model = OnnxModel.FromProto(builder.Proto);
        var before = model.Graph.Nodes.Count;
        new SimplifyShapes().Apply(model);
        Assert.AreEqual(before, model.Graph.Nodes.Count);
    }

    [TestMethod]
    public void APlanNamesItOnlyWhereNodesGo()
    {
        using var with = OnnxModel.FromProto(Layers(new ModelBuilder(), 2).Proto);
        Assert.IsInstanceOfType<SimplifyShapes>(QuantizationPlan.Create(with).Transforms[0]);
        Assert.IsEmpty(QuantizationPlan.Create(with, new PlanOptions { SimplifyShapes = false }).Transforms.OfType<SimplifyShapes>());
        using var without = OnnxModel.FromProto(GraphFixtures.SingleFloat32Weight().Proto);
        Assert.IsEmpty(QuantizationPlan.Create(without).Transforms.OfType<SimplifyShapes>());
    }

    [TestMethod]
    public void ExpressionsAreEqualWhenTheyAlwaysAre()
    {
        var (n, m, three) = (SymbolicSize.Unknown(0), SymbolicSize.Unknown(1), SymbolicSize.Of(3));
        var product = SymbolicSize.Multiply(SymbolicSize.Add(n, m)!, three)!;
        Assert.AreEqual(SymbolicSize.Add(SymbolicSize.Multiply(three, m)!, SymbolicSize.Multiply(n, three)!), product);
        Assert.AreEqual(SymbolicSize.Add(n, m), SymbolicSize.Divide(product, three));
        Assert.IsNull(SymbolicSize.Divide(product, SymbolicSize.Of(2)));
        Assert.IsNull(SymbolicSize.Divide(SymbolicSize.One, n));
        Assert.AreEqual(m, SymbolicSize.Divide(SymbolicSize.Multiply(n, m)!, n));
        Assert.IsFalse(SymbolicSize.AreEqual(n, SymbolicSize.Of(-1)));
        Assert.IsFalse(SymbolicSize.AreEqual(n, SymbolicSize.Add(n, SymbolicSize.One)!));
        Assert.IsNull(SymbolicSize.AreEqual(n, m));
        Assert.IsNull(SymbolicSize.AreEqual(n, three));
        Assert.IsNull(SymbolicSize.AreEqual(SymbolicSize.Subtract(n, m)!, SymbolicSize.Of(-1)));
        Assert.IsNull(SymbolicSize.Multiply(SymbolicSize.Of(long.MaxValue), SymbolicSize.Of(2)));
    }

    [TestMethod]
    [DynamicData(nameof(ZooTests.Graphs), typeof(ZooTests))]
    public void ExportersGraphsGiveTheSameBits(string file)
    {
        var source = TestFiles.Optional($"models/zoo/{file}");
        using var folder = new TemporaryFolder();
        foreach (var beside in Directory.GetFiles(Path.GetDirectoryName(source)!, "*.json")) File.Copy(beside, folder.File(Path.GetFileName(beside)), overwrite: true);
        var simplified = Simplify(source, folder, out _, out _);
        var result = ModelComparer.Compare(source, simplified, new ComparisonOptions { Reference = Plain, Model = Plain });
        Assert.AreEqual(0.0, result.MaxAbs, "every output, with past too");
    }

    private static string Simplify(string source, TemporaryFolder folder, out int before, out int after)
    {
        using var model = OnnxModel.Load(source);
        before = model.AllGraphs.Sum(graph => graph.Nodes.Count);
        new SimplifyShapes().Apply(model);
        after = model.AllGraphs.Sum(graph => graph.Nodes.Count);
        return ModelWriter.Save(model, folder.File("simplified.onnx")).GraphPath;
    }

    private static float[] Run(string path, int batch, int length, int past)
    {
        using var session = SessionFactory.Open(path, Plain);
        var random = new Random(3);
        var inputs = session.InputMetadata.Keys.ToDictionary(name => name, name => name == "x" ? Values([batch, length, 8]) : Values([batch, 2, past, 4]));
        using var options = new RunOptions();
        using var results = session.Run(options, inputs, session.OutputNames);
        foreach (var input in inputs.Values) input.Dispose();
        return [.. results.SelectMany(result => result.GetTensorDataAsSpan<float>().ToArray())];

        OrtValue Values(long[] shape) => OrtValue.CreateTensorValueFromMemory(
            Enumerable.Range(0, (int)shape.Aggregate(1L, (product, size) => product * size)).Select(_ => random.NextSingle()).ToArray(), shape);
    }

    /// <summary>Layers that compute their shapes as torch's exporter writes them: split heads, append to the past, repeat heads, join heads, add.</summary>
    private static ModelBuilder Layers(ModelBuilder builder, int count)
    {
        builder.Input("x", ElementType.Float32, "batch", "length", 8);
        var x = "x";
        for (var layer = 0; layer < count; layer++)
        {
            builder.Input($"past{layer}", ElementType.Float32, "batch", 2, "past", 4);
            x = Layer(builder, $"l{layer}", x, $"past{layer}");
        }

        return builder.Output(x, ElementType.Float32, "batch", "length", 8);
    }

    private static string Layer(ModelBuilder builder, string name, string x, string past)
    {
        Number("zero", 0);
        Number("one", 1);
        Number("two", 2);
        Vector("first", 0);
        Vector("rest", -1);
        Vector("width", 4);
        Vector("axis2", 2);
        Vector("repeat", 1);
        Vector("heads", 2);
        Node("Shape", "shape", x);
        Node("Gather", "b", N("shape"), N("zero"));
        Node("Gather", "s", N("shape"), N("one"));
        Node("Unsqueeze", "b1", N("b"), N("first"));
        Node("Unsqueeze", "s1", N("s"), N("first"));
        Join("split", "b1", "s1", "rest", "width");
        Node("Reshape", "parts", x, N("split"));
        builder.Node("Transpose", [N("parts")], [N("turned")], Ints("perm", 0, 2, 1, 3)).Node("Concat", [past, N("turned")], [N("all")], Int("axis", -2));
        Node("Shape", "all_shape", N("all"));
        Node("Gather", "t", N("all_shape"), N("two"));
        Node("Unsqueeze", "t1", N("t"), N("first"));
        Join("grown", "b1", "heads", "repeat", "t1", "width");
        Node("Reshape", "flat", N("grown"), N("rest"));
        Node("Shape", "rank", N("flat"));
        builder.Node("ConstantOfShape", [N("rank")], [N("ones")], Constant(Tensor("", ElementType.Int64, [1], [1])));
        Number("minus", -1);
        Node("Mul", "minuses", N("ones"), N("minus"));
        Node("Equal", "is_minus", N("flat"), N("minuses"));
        Node("Where", "target", N("is_minus"), N("ones"), N("flat"));
        Node("Unsqueeze", "one_more", N("all"), N("axis2"));
        Node("Expand", "expanded", N("one_more"), N("target"));
        Join("joined_shape", "b1", "heads", "t1", "width");
        Node("Reshape", "repeated", N("expanded"), N("joined_shape"));
        builder.Node("ReduceMean", [N("repeated"), N("axis2")], [N("mean")], Int("keepdims", 1));
        Node("Add", "sum", N("mean"), N("turned"));
        builder.Node("Transpose", [N("sum")], [N("back")], Ints("perm", 0, 2, 1, 3));
        Join("out", "b1", "s1", "rest");
        Node("Reshape", "y", N("back"), N("out"));
        return N("y");

        string N(string value) => $"{name}_{value}";
        void Node(string op, string output, params string[] inputs) => builder.Node(op, inputs, [N(output)]);
        void Join(string output, params string[] parts) => builder.Node("Concat", [.. parts.Select(N)], [N(output)], Int("axis", 0));
        void Number(string constant, float value) => builder.Node("Constant", [], [N(constant)], Constant(Tensor("", ElementType.Int64, [], [value])));
        void Vector(string constant, float value) => builder.Node("Constant", [], [N(constant)], Constant(Tensor("", ElementType.Int64, [1], [value])));
    }
}
