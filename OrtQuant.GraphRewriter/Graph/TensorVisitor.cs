using Onnx;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>Finds every tensor message of a model.</summary>
internal static class TensorVisitor
{
    /// <summary>Calls back for initializers, tensors of attributes and parts of sparse tensors, in inner graphs and functions too.</summary>
    /// <remarks>The depth of inner graphs is bounded by that of the messages, which the parser bounds.</remarks>
    public static void Visit(ModelProto model, Action<TensorProto> visit)
    {
        if (model.Graph is not null) Visit(model.Graph, visit);
        foreach (var function in model.Functions)
        {
            foreach (var attribute in function.AttributeProto) Visit(attribute, visit);
            foreach (var node in function.Node) Visit(node, visit);
        }
    }

    private static void Visit(GraphProto graph, Action<TensorProto> visit)
    {
        foreach (var tensor in graph.Initializer) visit(tensor);
        foreach (var sparse in graph.SparseInitializer) Visit(sparse, visit);
        foreach (var node in graph.Node) Visit(node, visit);
    }

    private static void Visit(NodeProto node, Action<TensorProto> visit)
    {
        foreach (var attribute in node.Attribute) Visit(attribute, visit);
    }

    private static void Visit(AttributeProto attribute, Action<TensorProto> visit)
    {
        if (attribute.T is not null) visit(attribute.T);
        foreach (var tensor in attribute.Tensors) visit(tensor);
        if (attribute.G is not null) Visit(attribute.G, visit);
        foreach (var graph in attribute.Graphs) Visit(graph, visit);
        if (attribute.SparseTensor is not null) Visit(attribute.SparseTensor, visit);
        foreach (var sparse in attribute.SparseTensors) Visit(sparse, visit);
    }

    private static void Visit(SparseTensorProto sparse, Action<TensorProto> visit)
    {
        if (sparse.Values is not null) visit(sparse.Values);
        if (sparse.Indices is not null) visit(sparse.Indices);
    }
}
