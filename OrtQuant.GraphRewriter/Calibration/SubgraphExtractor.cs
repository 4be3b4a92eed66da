using System.Globalization;
using Google.Protobuf;
using Onnx;
using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Calibration;

/// <summary>A value that a small model is given, and what is known of it.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">Element type, as ONNX numbers them.</param>
/// <param name="Shape">Sizes; -1 where they differ from run to run.</param>
internal sealed record GivenValue(string Name, int Type, IReadOnlyList<long> Shape);

/// <summary>A part of a model as a model of its own.</summary>
/// <param name="Model">Serializable; large tensors of the data folder are referred to, all others inline.</param>
/// <param name="GraphInputs">Inputs that are those of the whole graph.</param>
/// <param name="Given">Inputs that an earlier part computes.</param>
/// <param name="Outputs">What it computes.</param>
internal sealed record Subgraph(ModelProto Model, IReadOnlyList<string> GraphInputs, IReadOnlyList<string> Given, IReadOnlyList<string> Outputs);

/// <summary>
/// Cuts out of a graph what is needed to compute some of its values from others. Nodes are those of the graph; initializers refer to the file
/// that the model was read from, so that they are mapped and not copied, wherever the file holds them as they are.
/// </summary>
internal sealed class SubgraphExtractor(OnnxModel model)
{
    // Shapes and the like are looked at while a session is made, which external data can hinder.
    private const long LeastExternalBytes = 4096;
    private const long MappedAlignment = 64;

    /// <summary>Folder that external data is referred to from; null where there is none.</summary>
    internal string? DataFolder { get; } = model.ExternalFiles.Count > 0 ? Path.GetDirectoryName(ExternalPath.RealPath(model.ExternalFiles[0])) : null;

    /// <summary>Names that a node reads of the graph that it is in, through its bodies too.</summary>
    internal static IEnumerable<string> Reads(OnnxNode node) => NodeOrder.Reads(node.Proto).Where(name => name.Length > 0);

    /// <summary>Cuts out what computes <paramref name="wanted"/>.</summary>
    /// <param name="wanted">Names of values; those that are given, or are in no node's outputs, are left out.</param>
    /// <param name="given">What is there already, by name.</param>
    /// <param name="generated">Called with tensors that are made on demand, for their bytes.</param>
    internal Subgraph Extract(IEnumerable<string> wanted, Func<string, GivenValue?> given, Func<GeneratedTensor, byte[]> generated)
    {
        var graph = model.Graph;
        var outputs = wanted.Where(name => given(name) is null && graph.Find(name)?.Producer is not null).Distinct().ToList();
        var (nodes, leaves) = Trace(outputs, given);
        var proto = new GraphProto { Name = "segment" };
        var graphInputs = new List<string>();
        var carried = new List<string>();
        foreach (var name in leaves)
        {
            if (given(name) is { } value)
            {
                carried.Add(name);
                proto.Input.Add(Describe(value));
            }
            else if (graph.InitializerOf(name) is { } tensor)
            {
                proto.Initializer.Add(Materialize(tensor.Clone(), generated));
            }
            else if (graph.Proto.SparseInitializer.FirstOrDefault(sparse => sparse.Values.Name == name) is { } sparse)
            {
                proto.SparseInitializer.Add(sparse);
            }
            else if (graph.Proto.Input.FirstOrDefault(input => input.Name == name) is { } input)
            {
                graphInputs.Add(name);
                proto.Input.Add(input.Clone());
            }
        }

        var inner = nodes.SelectMany(node => node.Outputs.OfType<OnnxValue>()).Select(value => value.Name).Except(outputs).ToHashSet();
        proto.ValueInfo.AddRange(graph.Proto.ValueInfo.Where(info => inner.Contains(info.Name)).Select(info => info.Clone()));
        proto.Node.AddRange(nodes.Select(node => node.Proto.Clone()));
        proto.Output.AddRange(outputs.Select(name => new ValueInfoProto { Name = name }));
        var whole = model.Proto;
        var result = new ModelProto { IrVersion = whole.IrVersion, Graph = proto };
        result.OpsetImport.AddRange(whole.OpsetImport.Select(import => import.Clone()));
        result.Functions.AddRange(whole.Functions.Select(function => function.Clone()));
        foreach (var constant in ProtoWalk.Tensors(result).Where(TensorTable.IsReference).ToList()) Materialize(constant, generated);
        return new Subgraph(result, graphInputs, carried, outputs);
    }

    private (List<OnnxNode> Nodes, List<string> Leaves) Trace(IEnumerable<string> outputs, Func<string, GivenValue?> given)
    {
        var (nodes, leaves) = (new HashSet<OnnxNode>(), new List<string>());
        var seen = new HashSet<string>();
        var open = new Stack<string>(outputs);
        while (open.TryPop(out var name))
        {
            if (!seen.Add(name)) continue;
            var value = model.Graph.Find(name);
            if (given(name) is not null || value?.Producer is not { } producer)
            {
                leaves.Add(name);
            }
            else if (nodes.Add(producer))
            {
                foreach (var read in Reads(producer)) open.Push(read);
            }
        }

        return ([.. model.Graph.Nodes.Where(nodes.Contains)], leaves);
    }

    private static ValueInfoProto Describe(GivenValue value)
    {
        var shape = new TensorShapeProto();
        for (var axis = 0; axis < value.Shape.Count; axis++)
        {
            shape.Dim.Add(value.Shape[axis] >= 0
                ? new TensorShapeProto.Types.Dimension { DimValue = value.Shape[axis] }
                : new TensorShapeProto.Types.Dimension { DimParam = $"{value.Name}_{axis}" });
        }

        return new ValueInfoProto { Name = value.Name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = value.Type, Shape = shape } } };
    }

    private TensorProto Materialize(TensorProto proto, Func<GeneratedTensor, byte[]> generated)
    {
        if (!TensorTable.IsReference(proto)) return proto;
        var tensor = model.Tensors.Find(proto)!;
        proto.ExternalData.Clear();
        if (tensor is FileTensor file && Location(file) is { } location)
        {
            Add("location", location);
            Add("offset", file.Offset.ToString(CultureInfo.InvariantCulture));
            Add("length", file.ByteLength.ToString(CultureInfo.InvariantCulture));
            return proto;
        }

        proto.ClearDataLocation();
        proto.RawData = UnsafeByteOperations.UnsafeWrap(tensor is GeneratedTensor made ? generated(made) : tensor.ReadBytes());
        return proto;

        void Add(string key, string value) => proto.ExternalData.Add(new StringStringEntryProto { Key = key, Value = value });
    }

    private string? Location(FileTensor tensor)
    {
        if (DataFolder is null || tensor.ByteLength < LeastExternalBytes || tensor.Offset % MappedAlignment != 0) return null;
        var path = ExternalPath.RealPath(Path.GetFullPath(tensor.Path));
        return path.StartsWith(DataFolder + Path.DirectorySeparatorChar, StringComparison.Ordinal) ? path[(DataFolder.Length + 1)..] : null;
    }
}
