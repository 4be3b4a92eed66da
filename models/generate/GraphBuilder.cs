using System.Globalization;
using System.Runtime.InteropServices;
using Google.Protobuf;
using Onnx;
using DataType = Onnx.TensorProto.Types.DataType;

namespace OrtQuant.ModelGenerator;

/// <summary>A float16 weight that is still to be written: its values come from its index among the weights.</summary>
/// <param name="Tensor">The initializer that refers to it.</param>
/// <param name="Count">Number of values.</param>
/// <param name="Deviation">Standard deviation of its values; 0 for a tensor of ones.</param>
internal sealed record PendingWeight(TensorProto Tensor, long Count, float Deviation);

/// <summary>Builds a graph node by node; every method returns the name of the value it made.</summary>
internal sealed class GraphBuilder(string name)
{
    private readonly Dictionary<string, int> _uses = [];
    private readonly Dictionary<string, string> _constants = [];

    public GraphProto Graph { get; } = new() { Name = name };

    /// <summary>The weights in the order of their place in the data file.</summary>
    public List<PendingWeight> Weights { get; } = [];

    public string Input(string input, DataType type, params object[] shape)
    {
        Graph.Input.Add(Value(input, type, shape));
        return input;
    }

    /// <summary>Makes a value an output of the graph, under a name of its own.</summary>
    public void Output(string value, string output, DataType type, params object[] shape)
    {
        Graph.Output.Add(Value(output, type, shape));
        foreach (var node in Graph.Node)
        {
            Replace(node.Output, value, output);
            Replace(node.Input, value, output);
        }
    }

    /// <summary>A float16 weight in the data file, with random values of mean 0, or ones where the deviation is 0.</summary>
    public string Weight(string weight, float deviation, params int[] shape)
    {
        var tensor = new TensorProto { Name = weight, DataType = (int)DataType.Float16 };
        tensor.Dims.AddRange(shape.Select(d => (long)d));
        Graph.Initializer.Add(tensor);
        Weights.Add(new PendingWeight(tensor, shape.Aggregate(1L, (product, d) => product * d), deviation));
        return weight;
    }

    public string Int64(params long[] values) => Constant(DataType.Int64, values, [values.Length]);

    public string Int64Scalar(long value) => Constant<long>(DataType.Int64, [value], []);

    public string Float(ReadOnlySpan<float> values, params long[] shape) => Constant(DataType.Float, values, shape);

    public string Half(ReadOnlySpan<Half> values, params long[] shape) => Constant(DataType.Float16, values, shape);

    public string Cast(string path, string value, DataType type) => Node(path, "Cast", [value], ("to", (long)type));

    /// <summary>A node with one output.</summary>
    /// <param name="path">Prefix of its name, for example <c>/model/layers.0/mlp/gate_proj</c>.</param>
    /// <param name="opType">Operator of the standard domain.</param>
    /// <param name="inputs">Names; an empty one is an input that is not given.</param>
    /// <param name="attributes">Values of type long, float or long[].</param>
    public string Node(string path, string opType, IEnumerable<string> inputs, params (string Name, object Value)[] attributes) =>
        Node(path, "", opType, inputs, 1, attributes)[0];

    /// <summary>A node of any domain with several outputs.</summary>
    public string[] Node(
        string path, string domain, string opType, IEnumerable<string> inputs, int outputs, params (string Name, object Value)[] attributes)
    {
        var prefix = $"{path}/{opType}";
        var use = CollectionsMarshal.GetValueRefOrAddDefault(_uses, prefix, out _)++;
        var node = new NodeProto { Name = use == 0 ? prefix : $"{prefix}_{use}", OpType = opType, Domain = domain };
        node.Input.AddRange(inputs);
        node.Output.AddRange(Enumerable.Range(0, outputs).Select(i => $"{node.Name}_output_{i}"));
        node.Attribute.AddRange(attributes.Select(a => Attribute(a.Name, a.Value)));
        Graph.Node.Add(node);
        return [.. node.Output];
    }

    private string Constant<T>(DataType type, ReadOnlySpan<T> values, long[] shape)
        where T : unmanaged
    {
        var tensor = new TensorProto { DataType = (int)type, RawData = ByteString.CopyFrom(MemoryMarshal.AsBytes(values)) };
        tensor.Dims.AddRange(shape);
        var key = tensor.ToByteString().ToBase64();
        if (!_constants.TryGetValue(key, out var constant))
        {
            tensor.Name = constant = string.Create(CultureInfo.InvariantCulture, $"constant_{_constants.Count}");
            _constants.Add(key, constant);
            Graph.Initializer.Add(tensor);
        }

        return constant;
    }

    private static AttributeProto Attribute(string attribute, object value)
    {
        var proto = new AttributeProto { Name = attribute };
        switch (value)
        {
            case long number:
                proto.Type = AttributeProto.Types.AttributeType.Int;
                proto.I = number;
                break;
            case float number:
                proto.Type = AttributeProto.Types.AttributeType.Float;
                proto.F = number;
                break;
            case long[] numbers:
                proto.Type = AttributeProto.Types.AttributeType.Ints;
                proto.Ints.AddRange(numbers);
                break;
            default:
                throw new ArgumentException($"An attribute of type {value.GetType()} is not supported.", nameof(value));
        }

        return proto;
    }

    private static ValueInfoProto Value(string value, DataType type, object[] shape)
    {
        var tensor = new TypeProto.Types.Tensor { ElemType = (int)type, Shape = new TensorShapeProto() };
        tensor.Shape.Dim.AddRange(shape.Select(d => d is string symbol
            ? new TensorShapeProto.Types.Dimension { DimParam = symbol }
            : new TensorShapeProto.Types.Dimension { DimValue = Convert.ToInt64(d, CultureInfo.InvariantCulture) }));
        return new ValueInfoProto { Name = value, Type = new TypeProto { TensorType = tensor } };
    }

    private static void Replace(IList<string> names, string from, string to)
    {
        for (var i = 0; i < names.Count; i++)
        {
            if (names[i] == from)
            {
                names[i] = to;
            }
        }
    }
}
