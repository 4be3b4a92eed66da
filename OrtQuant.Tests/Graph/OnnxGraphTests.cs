using Onnx;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.Tests.Support;
using static OrtQuant.Tests.Support.ModelBuilder;

namespace OrtQuant.Tests.Graphs;

[TestClass]
public sealed class OnnxGraphTests
{
    [TestMethod]
    public void InnerGraphsAreReadersOfOuterValues()
    {
        using var model = OnnxModel.FromProto(GraphFixtures.IfMergedDecoder().Proto);
        var h = model.Graph.Find("h")!;
        Assert.HasCount(4, h.Uses);
        Assert.IsTrue(h.Uses.All(use => use.Node.Graph.Parent == model.Graph));
        Assert.HasCount(3, model.AllGraphs);
        Assert.AreSame(model.Graph.Nodes[1], model.AllGraphs[1].OwnerNode);
    }

    [TestMethod]
    public void NameOfAnInnerGraphHidesTheOuterOne()
    {
        using var model = OnnxModel.FromProto(GraphFixtures.ShadowedNames().Proto);
        var (first, second) = (model.AllGraphs[1], model.AllGraphs[2]);
        Assert.AreNotSame(first.Find("inner_w"), second.Find("inner_w"));
        Assert.AreSame(first, first.Find("inner_w")!.Graph);
        Assert.AreSame(model.Graph.Find("h"), first.Find("h"));
        Assert.HasCount(1, first.Find("inner_w")!.Uses);
    }

    [TestMethod]
    public void ValueHiddenByAnInnerOneIsNotReadThere()
    {
        var body = Body("branch", inner => inner.Node("Neg", ["x"], ["h"]).Node("Relu", ["h"], ["r"]).Output("r", ElementType.Float32, 4));
        var model = new ModelBuilder().Input("x", ElementType.Float32, 4).Input("flag", ElementType.Bool)
            .Node("Abs", ["x"], ["h"])
            .Node("If", ["flag"], ["y"], ModelBuilder.Graph("then_branch", body), ModelBuilder.Graph("else_branch", body.Clone()))
            .Node("Add", ["h", "y"], ["z"]).Output("z", ElementType.Float32, 4);
        using var read = OnnxModel.FromProto(model.Proto);
        Assert.HasCount(1, read.Graph.Find("h")!.Uses);
    }

    [TestMethod]
    public void OverridableInitializerIsNoConstant()
    {
        using var model = OnnxModel.FromProto(GraphFixtures.InitializerInputs().Proto);
        var (overridable, constant) = (model.Graph.Find("w1")!, model.Graph.Find("w2")!);
        Assert.IsTrue(overridable is { IsInitializer: true, IsGraphInput: true, Constant: null });
        Assert.IsTrue(constant is { IsInitializer: true, IsGraphInput: false, Constant: not null });
    }

    [TestMethod]
    public void ConstantNodesAreConstants()
    {
        using var model = OnnxModel.FromProto(GraphFixtures.ConstantWeights().Proto);
        Assert.AreEqual("32, 48", string.Join(", ", model.Graph.Find("w")!.Constant!.Shape));
        CollectionAssert.AreEqual(new long[] { -1, 48 }, model.Graph.Find("shape")!.Constant!.ReadInt64s());
    }

    [TestMethod]
    public void NodesAreSorted()
    {
        using var model = OnnxModel.FromProto(GraphFixtures.UnsortedNodes().Proto);
        Assert.AreEqual("MatMul Tanh", string.Join(' ', model.Graph.Nodes.Select(node => node.OpType)));
    }

    [TestMethod]
    public void EditsKeepEdgesAndMessageInStep()
    {
        using var model = OnnxModel.FromProto(GraphFixtures.SingleFloat32Weight().Proto);
        var graph = model.Graph;
        var first = graph.Nodes[0];
        var h = first.Outputs[0]!;
        var node = graph.InsertAfter(first, new NodeProto { OpType = "Neg", Input = { "h" }, Output = { graph.UniqueName("h") } });
        graph.ReplaceAllUses(h, node.Outputs[0]!);
        node.SetInput(0, h);
        Assert.AreEqual("h_1", node.Outputs[0]!.Name);
        Assert.HasCount(1, h.Uses);
        Assert.AreEqual("MatMul Neg Cast MatMul Cast Add", string.Join(' ', model.Proto.Graph.Node.Select(each => each.OpType)));
        Assert.AreEqual("narrow h_1", string.Join(' ', model.Proto.Graph.Node[5].Input));

        graph.ReplaceAllUses(node.Outputs[0]!, h);
        graph.Remove(node);
        Assert.IsNull(graph.Find("h_1"));
        Assert.HasCount(2, h.Uses);
    }

    [TestMethod]
    public void NodeThatGoesTakesItsGraphsAlong()
    {
        using var model = OnnxModel.FromProto(GraphFixtures.IfMergedDecoder().Proto);
        var h = model.Graph.Find("h")!;
        var branch = model.Graph.Nodes[1];
        model.Graph.AddNode(new NodeProto { OpType = "Relu", Input = { "h" }, Output = { "other" } });
        model.Graph.Remove(branch);
        Assert.HasCount(1, h.Uses);
        Assert.HasCount(1, model.AllGraphs);
    }

    [TestMethod]
    public void NewNodesHaveNewNames()
    {
        using var model = OnnxModel.FromProto(GraphFixtures.ShadowedNames().Proto);
        Assert.AreEqual("inner_1", model.Graph.UniqueName("inner"), "the name is taken in a branch");
        model.Graph.AddInitializer("inner_1", LazyTensor.FromInt64s([1], [3]));
        Assert.AreEqual("inner_2", model.Graph.UniqueName("inner"));
        Assert.ThrowsExactly<ModelFormatException>(() => model.Graph.AddInitializer("w", LazyTensor.FromInt64s([1], [3])));
        Assert.ThrowsExactly<ModelFormatException>(() => model.Graph.AddNode(new NodeProto { OpType = "Relu", Input = { "nowhere" }, Output = { "r" } }));
    }

    [TestMethod]
    public void TypedFieldsReadAsRawData()
    {
        var cases = new (TensorProto Tensor, byte[] Raw)[]
        {
            (new TensorProto { DataType = (int)ElementType.Float32, FloatData = { 1 } }, [0, 0, 0x80, 0x3F]),
            (new TensorProto { DataType = (int)ElementType.Float16, Int32Data = { 0x3C00 } }, [0, 0x3C]),
            (new TensorProto { DataType = (int)ElementType.BFloat16, Int32Data = { 0x3F80 } }, [0x80, 0x3F]),
            (new TensorProto { DataType = (int)ElementType.Int8, Int32Data = { -1 } }, [0xFF]),
            (new TensorProto { DataType = (int)ElementType.UInt4, Int32Data = { 0x21 } }, [0x21]),
            (new TensorProto { DataType = (int)ElementType.Bool, Int32Data = { 1 } }, [1]),
            (new TensorProto { DataType = (int)ElementType.Int64, Int64Data = { -2 } }, [0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
            (new TensorProto { DataType = (int)ElementType.UInt32, Uint64Data = { 7 } }, [7, 0, 0, 0]),
            (new TensorProto { DataType = (int)ElementType.Float64, DoubleData = { 1 } }, [0, 0, 0, 0, 0, 0, 0xF0, 0x3F]),
        };
        foreach (var (tensor, raw) in cases)
        {
            tensor.Name = "t";
            var builder = new ModelBuilder().Initializer(tensor).Node("Identity", ["t"], ["y"]).Output("y", (ElementType)tensor.DataType);
            using var model = OnnxModel.FromProto(builder.Proto);
            CollectionAssert.AreEqual(raw, model.Graph.Find("t")!.Constant!.ReadBytes(), $"{(ElementType)tensor.DataType}");
        }
    }

    [TestMethod]
    public void AttributeOfAnotherKindIsNamed()
    {
        using var model = OnnxModel.FromProto(new ModelBuilder().Input("x", ElementType.Float32, 4).Node("Cast", ["x"], ["y"], Float("to", 1)).Output("y", ElementType.Float32, 4).Proto);
        var error = Assert.ThrowsExactly<ModelFormatException>(() => model.Graph.Nodes[0].GetInt("to", 0));
        StringAssert.Contains(error.Message, "Cast '/y/Cast' has an attribute 'to' of kind Float; it must be Int");
    }
}
