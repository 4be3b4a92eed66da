using System.Runtime.InteropServices;
using Google.Protobuf;
using Onnx;

namespace OrtQuant.Tests.Registration;

/// <summary>A model of one custom op and no function body, small enough to check by hand.</summary>
internal static class OneNodeModel
{
    private const int N = 16, K = 32;

    /// <summary>A GatherNBits node over 8-bit weights <c>w[n, k] = (n * 7 + k) % 256 - 128</c>, one group a row, all scales 1.</summary>
    public static byte[] Gather()
    {
        var codes = new byte[N * K];
        for (var n = 0; n < N; n++)
        {
            for (var k = 0; k < K; k++)
            {
                // Vectors of 64 bytes, each with four inputs of sixteen outputs.
                codes[(k / 4 * 64) + (4 * n) + (k % 4)] = (byte)((n * 7) + k);
            }
        }

        var scales = Enumerable.Repeat(1f, N).ToArray();
        var graph = new GraphProto
        {
            Name = "test",
            Node = { Node() },
            Initializer =
            {
                Tensor("W", 2, codes, 1, 1, 64 * 8),
                Tensor("scales", 1, MemoryMarshal.AsBytes(scales.AsSpan()).ToArray(), 1, 1, 16),
            },
            Input = { new ValueInfoProto { Name = "indices", Type = Type(7, new TensorShapeProto.Types.Dimension { DimParam = "count" }) } },
            Output = { new ValueInfoProto { Name = "Y", Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = 1 } } } },
        };
        var model = new ModelProto
        {
            IrVersion = 8,
            Graph = graph,
            OpsetImport = { new OperatorSetIdProto { Domain = "", Version = 18 }, new OperatorSetIdProto { Domain = "ortquant", Version = 1 } },
        };
        return model.ToByteArray();
    }

    /// <summary>What the model gives for these indices.</summary>
    public static float[] Rows(params int[] indices) =>
        [.. indices.SelectMany(n => Enumerable.Range(0, K).Select(k => ((n * 7) + k) % 256 - 128f))];

    private static NodeProto Node()
    {
        var node = new NodeProto { Name = "gather", Domain = "ortquant", OpType = "GatherNBits", Input = { "indices", "W", "scales" }, Output = { "Y" } };
        foreach (var (name, value) in new[] { ("K", K), ("N", N), ("bits", 8), ("block_size", -1), ("format_version", 1), ("dtype", 1) })
        {
            node.Attribute.Add(new AttributeProto { Name = name, I = value, Type = AttributeProto.Types.AttributeType.Int });
        }

        node.Attribute.Add(new AttributeProto { Name = "layout", S = ByteString.CopyFromUtf8("n16"), Type = AttributeProto.Types.AttributeType.String });
        return node;
    }

    private static TensorProto Tensor(string name, int type, byte[] data, params long[] shape)
    {
        var tensor = new TensorProto { Name = name, DataType = type, RawData = ByteString.CopyFrom(data) };
        tensor.Dims.AddRange(shape);
        return tensor;
    }

    private static TypeProto Type(int elementType, TensorShapeProto.Types.Dimension dimension) => new()
    {
        TensorType = new TypeProto.Types.Tensor { ElemType = elementType, Shape = new TensorShapeProto { Dim = { dimension } } },
    };
}
