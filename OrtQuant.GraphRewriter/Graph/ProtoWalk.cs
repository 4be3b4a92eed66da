using Onnx;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>Walks over the protobuf objects of a model.</summary>
internal static class ProtoWalk
{
    /// <summary>The main graph, and every graph in an attribute, those of functions included.</summary>
    internal static IEnumerable<GraphProto> Graphs(ModelProto model)
    {
        var main = model.Graph is null ? [] : Within(model.Graph, 0).Prepend(model.Graph);
        return main.Concat(model.Functions.SelectMany(Graphs));
    }

    /// <summary>Tensors that can be of any size and may have external data: initializers, and those of Constant nodes.</summary>
    internal static IEnumerable<TensorProto> Weights(ModelProto model) =>
        Graphs(model).SelectMany(graph => graph.Initializer)
            .Concat(Nodes(model).Where(node => node.OpType == "Constant").SelectMany(node => node.Attribute)
                .Where(attribute => attribute.Name == "value" && attribute.T is not null).Select(attribute => attribute.T));

    /// <summary>Every tensor: initializers, parts of sparse ones, and attributes.</summary>
    internal static IEnumerable<TensorProto> Tensors(ModelProto model)
    {
        var attributes = Nodes(model).SelectMany(node => node.Attribute).Concat(model.Functions.SelectMany(function => function.AttributeProto)).ToList();
        var sparse = Graphs(model).SelectMany(graph => graph.SparseInitializer)
            .Concat(attributes.SelectMany(attribute => attribute.SparseTensor is null ? attribute.SparseTensors : attribute.SparseTensors.Prepend(attribute.SparseTensor)));
        return Graphs(model).SelectMany(graph => graph.Initializer)
            .Concat(attributes.SelectMany(attribute => attribute.T is null ? attribute.Tensors : attribute.Tensors.Prepend(attribute.T)))
            .Concat(sparse.SelectMany(tensor => new[] { tensor.Values, tensor.Indices }).Where(tensor => tensor is not null));
    }

    private static IEnumerable<NodeProto> Nodes(ModelProto model) =>
        Graphs(model).SelectMany(graph => graph.Node).Concat(model.Functions.SelectMany(function => function.Node));

    /// <summary>The nodes of a graph, those in graphs inside it included.</summary>
    internal static IEnumerable<NodeProto> Nodes(GraphProto graph) => Within(graph, 0).Prepend(graph).SelectMany(inner => inner.Node);

    /// <summary>The nodes of a function, those in graphs inside it included.</summary>
    internal static IEnumerable<NodeProto> Nodes(FunctionProto function) => function.Node.Concat(Graphs(function).SelectMany(graph => graph.Node));

    /// <summary>The graphs that a node holds itself: branches of an If, the body of a Loop or Scan.</summary>
    internal static IEnumerable<GraphProto> Bodies(NodeProto node) =>
        node.Attribute.SelectMany(attribute => attribute.G is null ? attribute.Graphs : attribute.Graphs.Prepend(attribute.G));

    /// <summary>Every graph in an attribute of a function's nodes.</summary>
    internal static IEnumerable<GraphProto> Graphs(FunctionProto function) => function.Node.SelectMany(node => Within(node, 0));

    private static IEnumerable<GraphProto> Within(GraphProto graph, int depth) => graph.Node.SelectMany(node => Within(node, depth));

    private static IEnumerable<GraphProto> Within(NodeProto node, int depth)
    {
        if (depth > OnnxModel.DeepestNesting) throw new ModelFormatException($"graphs are nested more than {OnnxModel.DeepestNesting} deep");
        return Bodies(node).SelectMany(graph => Within(graph, depth + 1).Prepend(graph));
    }
}
