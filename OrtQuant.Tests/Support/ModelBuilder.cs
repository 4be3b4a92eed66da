using System.Runtime.InteropServices;
using Google.Protobuf;
using Onnx;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.Tests.Support;

/// <summary>Writes small graphs for tests: every call adds one thing and gives the builder back.</summary>
internal sealed class ModelBuilder
{
    private readonly ModelProto _model;
    private readonly GraphProto _graph;

    internal ModelBuilder(int opset = 18, int irVersion = 8)
    {
        _graph = new GraphProto { Name = "graph" };
        _model = new ModelProto { IrVersion = irVersion, Graph = _graph, OpsetImport = { new OperatorSetIdProto { Version = opset } } };
    }

    private ModelBuilder(GraphProto body)
    {
        _graph = body;
        _model = new ModelProto();
    }

    internal ModelProto Proto => _model;

    internal static GraphProto Body(string name, Action<ModelBuilder> write)
    {
        var body = new GraphProto { Name = name };
        write(new ModelBuilder(body));
        return body;
    }

    internal ModelBuilder Input(string name, ElementType type, params object[] dimensions)
    {
        _graph.Input.Add(Value(name, type, dimensions));
        return this;
    }

    internal ModelBuilder Output(string name, ElementType type, params object[] dimensions)
    {
        _graph.Output.Add(Value(name, type, dimensions));
        return this;
    }

    internal ModelBuilder Opset(string domain, int version)
    {
        _model.OpsetImport.Add(new OperatorSetIdProto { Domain = domain, Version = version });
        return this;
    }

    internal ModelBuilder Function(FunctionProto function)
    {
        _model.Functions.Add(function);
        return this;
    }

    /// <summary>A weight of seeded normal values.</summary>
    internal ModelBuilder Weight(string name, ElementType type, int seed, params long[] shape)
    {
        _graph.Initializer.Add(Random(name, type, seed, shape));
        return this;
    }

    internal ModelBuilder Initializer(TensorProto tensor)
    {
        _graph.Initializer.Add(tensor);
        return this;
    }

    internal ModelBuilder Node(string opType, string[] inputs, string[] outputs, params AttributeProto[] attributes) =>
        Node(new NodeProto { OpType = opType, Name = $"/{outputs[0]}/{opType}", Input = { inputs }, Output = { outputs }, Attribute = { attributes } });

    internal ModelBuilder Node(NodeProto node)
    {
        _graph.Node.Add(node);
        return this;
    }

    /// <summary>Writes the model to a file and reads it back, as a user's model would be.</summary>
    internal OnnxModel Load(string folder)
    {
        var path = Save(folder);
        return OnnxModel.Load(path);
    }

    internal string Save(string folder, string name = "model.onnx")
    {
        Directory.CreateDirectory(folder);
        var path = Path.Combine(folder, name);
        File.WriteAllBytes(path, _model.ToByteArray());
        return path;
    }

    internal static TensorProto Random(string name, ElementType type, int seed, params long[] shape)
    {
        var random = new Random(seed);
        var values = new float[shape.Aggregate(1L, (product, dimension) => product * dimension)];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()) * 0.1);
        }

        return Tensor(name, type, shape, values);
    }

    internal static TensorProto Tensor(string name, ElementType type, long[] shape, float[] values)
    {
        byte[] raw = type switch
        {
            ElementType.Float32 => MemoryMarshal.AsBytes<float>(values).ToArray(),
            ElementType.Float64 => MemoryMarshal.AsBytes<double>(Array.ConvertAll(values, value => (double)value)).ToArray(),
            ElementType.Float16 => MemoryMarshal.AsBytes<Half>(Array.ConvertAll(values, value => (Half)value)).ToArray(),
            ElementType.BFloat16 => MemoryMarshal.AsBytes<ushort>(Array.ConvertAll(values, value => (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16))).ToArray(),
            ElementType.Int64 => MemoryMarshal.AsBytes<long>(Array.ConvertAll(values, value => (long)value)).ToArray(),
            ElementType.Int32 => MemoryMarshal.AsBytes<int>(Array.ConvertAll(values, value => (int)value)).ToArray(),
            ElementType.Int8 => MemoryMarshal.AsBytes<sbyte>(Array.ConvertAll(values, value => (sbyte)value)).ToArray(),
            _ => throw new NotSupportedException($"tests make no {type}"),
        };
        return new TensorProto { Name = name, DataType = (int)type, Dims = { shape }, RawData = ByteString.CopyFrom(raw) };
    }

    internal static AttributeProto Int(string name, long value) => new() { Name = name, Type = AttributeProto.Types.AttributeType.Int, I = value };

    internal static AttributeProto Float(string name, float value) => new() { Name = name, Type = AttributeProto.Types.AttributeType.Float, F = value };

    internal static AttributeProto Ints(string name, params long[] values) => new() { Name = name, Type = AttributeProto.Types.AttributeType.Ints, Ints = { values } };

    internal static AttributeProto Graph(string name, GraphProto graph) => new() { Name = name, Type = AttributeProto.Types.AttributeType.Graph, G = graph };

    internal static AttributeProto Constant(TensorProto tensor) => new() { Name = "value", Type = AttributeProto.Types.AttributeType.Tensor, T = tensor };

    internal static ValueInfoProto Value(string name, ElementType type, params object[] dimensions)
    {
        var shape = new TensorShapeProto();
        foreach (var dimension in dimensions)
        {
            shape.Dim.Add(dimension is string symbol
                ? new TensorShapeProto.Types.Dimension { DimParam = symbol }
                : new TensorShapeProto.Types.Dimension { DimValue = Convert.ToInt64(dimension) });
        }

        return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)type, Shape = shape } } };
    }
}
