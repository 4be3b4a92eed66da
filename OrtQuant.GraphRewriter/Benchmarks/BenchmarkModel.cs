using Google.Protobuf;
using Onnx;

namespace OrtQuant.GraphRewriter.Benchmarks;

/// <summary>One initializer of every node of a benchmark model.</summary>
/// <param name="Name">Name of the op's input; empty for one left out.</param>
/// <param name="Type">ONNX element type.</param>
/// <param name="Shape">Dimensions.</param>
/// <param name="Data">Bytes.</param>
internal sealed record BenchmarkTensor(string Name, int Type, IReadOnlyList<long> Shape, byte[] Data);

/// <summary>
/// A graph of many equal nodes that all read one X, each with weights of its own in memory of its own, so that a run streams all of them.
/// </summary>
/// <param name="Domain">Domain of the op.</param>
/// <param name="OpType">Name of the op.</param>
/// <param name="Attributes">Its attributes.</param>
/// <param name="Tensors">Its constant inputs, in order.</param>
/// <param name="ActivationType">ONNX element type of X and Y.</param>
/// <param name="M">Rows of X.</param>
/// <param name="N">Columns of Y.</param>
/// <param name="K">Columns of X.</param>
/// <param name="Nodes">Number of nodes.</param>
internal sealed record BenchmarkModel(
    string Domain, string OpType, IReadOnlyList<AttributeProto> Attributes, IReadOnlyList<BenchmarkTensor> Tensors,
    int ActivationType, long M, long N, long K, int Nodes)
{
    private const string DataFile = "weights.bin";
    private const long Alignment = 4096;

    /// <summary>Stored bytes of one node's weights.</summary>
    public long Bytes => Tensors.Sum(tensor => (long)tensor.Data.Length);

    /// <summary>Name of a node's output.</summary>
    public static string Output(int node) => $"Y{node}";

    /// <summary>Writes graph and weights into a folder.</summary>
    /// <returns>Path of the graph.</returns>
    public string Write(string folder)
    {
        var graph = new GraphProto { Name = "benchmark" };
        graph.Input.Add(Value("X", M, K));
        using (var data = File.Create(Path.Combine(folder, DataFile)))
        {
            for (var node = 0; node < Nodes; node++)
            {
                AddNode(graph, node, data);
            }
        }

        var model = new ModelProto { IrVersion = 10, Graph = graph };
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = 21 });
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = Domain, Version = 1 });
        var path = Path.Combine(folder, "model.onnx");
        using var file = File.Create(path);
        model.WriteTo(file);
        return path;
    }

    private void AddNode(GraphProto graph, int index, FileStream data)
    {
        var node = new NodeProto { OpType = OpType, Domain = Domain, Name = $"{OpType}{index}" };
        node.Input.Add("X");
        node.Output.Add(Output(index));
        node.Attribute.Add(Attributes);
        foreach (var tensor in Tensors)
        {
            var name = $"{tensor.Name}{index}";
            node.Input.Add(name);
            graph.Initializer.Add(Append(tensor, name, data));
        }

        graph.Node.Add(node);
        graph.Output.Add(Value(Output(index), M, N));
    }

    private static TensorProto Append(BenchmarkTensor tensor, string name, FileStream data)
    {
        data.Position = (data.Position + Alignment - 1) / Alignment * Alignment;
        var proto = new TensorProto { Name = name, DataType = tensor.Type, DataLocation = TensorProto.Types.DataLocation.External };
        proto.Dims.Add(tensor.Shape);
        proto.ExternalData.Add(new StringStringEntryProto { Key = "location", Value = DataFile });
        proto.ExternalData.Add(new StringStringEntryProto { Key = "offset", Value = $"{data.Position}" });
        proto.ExternalData.Add(new StringStringEntryProto { Key = "length", Value = $"{tensor.Data.Length}" });
        data.Write(tensor.Data);
        return proto;
    }

    private ValueInfoProto Value(string name, params ReadOnlySpan<long> shape)
    {
        var tensor = new TypeProto.Types.Tensor { ElemType = ActivationType, Shape = new TensorShapeProto() };
        foreach (var size in shape)
        {
            tensor.Shape.Dim.Add(new TensorShapeProto.Types.Dimension { DimValue = size });
        }

        return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = tensor } };
    }
}
