using System.Text.Json.Nodes;
using Google.Protobuf;
using Onnx;
using OrtQuant.Descriptions;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;

namespace OrtQuant.GraphRewriter.Benchmarks;

/// <summary>Makes the graphs of op benchmarks: ours and that of ONNX Runtime's own op. Weights are random; times do not depend on them.</summary>
internal static class BenchmarkModels
{
    private const int Seed = 1;
    // com.microsoft::MatMulNBits in ONNX Runtime 1.29 on CPUs; above 256 it returns zeros.
    private static readonly int[] PeerBits = [2, 4, 8];
    private static readonly int[] PeerGroups = [16, 32, 64, 128, 256];

    /// <summary>The graph of our op.</summary>
    public static BenchmarkModel Ours(OpBenchmarkCase test)
    {
        var random = new Random(Seed);
        var roles = test.Scheme.Op.Inputs.ToDictionary(input => input.Name, input => input.Role);
        var tensors = test.Scheme.Tensors(test.Shape, test.Parameters)
            .Select(spec => new BenchmarkTensor(spec.Input, (int)spec.Type, spec.Shape, Data(roles[spec.Input], spec.Type, spec.Count, test, random)));
        var attributes = test.Scheme.Attributes(test.Shape, test.Parameters, test.AccuracyLevel).Select(Convert);
        return new BenchmarkModel(
            test.Scheme.Op.Domain, test.Scheme.Op.Name, [.. attributes], [.. tensors], (int)test.Type, test.M, test.Shape.N, test.Shape.K, test.Nodes);
    }

    /// <summary>The graph of <c>com.microsoft::MatMulNBits</c> with the same number of bits and group size.</summary>
    /// <returns>Null when that op cannot do the case.</returns>
    public static BenchmarkModel? Peer(OpBenchmarkCase test)
    {
        if (PeerParameters(test) is not { } group || !PeerBits.Contains(group.Bits) || !PeerGroups.Contains(group.GroupSize) ||
            (group.ZeroPoint == ZeroPointKind.Float && group.Bits != 4))
        {
            return null;
        }

        var random = new Random(Seed);
        var (n, k) = (test.Shape.N, test.Shape.K);
        var groups = (k + group.GroupSize - 1) / group.GroupSize;
        var tensors = new List<BenchmarkTensor>
        {
            Tensor("B", TensorRole.PackedWeight, ElementType.UInt8, n, groups, group.GroupSize * group.Bits / 8),
            Tensor("scales", TensorRole.Scale, test.Type, n * groups),
        };
        if (group.ZeroPoint == ZeroPointKind.Integer)
        {
            tensors.Add(Tensor("zero_points", TensorRole.PackedWeight, ElementType.UInt8, n * ((groups * group.Bits + 7) / 8)));
        }
        else if (group.ZeroPoint == ZeroPointKind.Float)
        {
            tensors.Add(Tensor("zero_points", TensorRole.ZeroPoint, test.Type, n * groups));
        }

        AttributeProto[] attributes =
        [
            Integer("K", k), Integer("N", n), Integer("bits", group.Bits), Integer("block_size", group.GroupSize), Integer("accuracy_level", test.AccuracyLevel),
        ];
        return new BenchmarkModel("com.microsoft", "MatMulNBits", attributes, tensors, (int)test.Type, test.M, n, k, test.Nodes);

        BenchmarkTensor Tensor(string name, TensorRole role, ElementType type, params long[] shape) =>
            new(name, (int)type, shape, Data(role, type, shape.Aggregate(1L, (product, size) => product * size), test, random));
    }

    /// <summary>The same case in scheme group: as many bits, as large groups, integer zero points; null where it has no such parameters.</summary>
    public static OpBenchmarkCase? InGroups(OpBenchmarkCase test)
    {
        if (PeerParameters(test) is not { } parameters) return null;
        try
        {
            GroupScheme.Instance.Tensors(test.Shape, parameters);
        }
        catch (OrtQuantException)
        {
            return null;
        }

        return test with { Scheme = GroupScheme.Instance, Parameters = parameters };
    }

    /// <summary>Whether ONNX Runtime 1.29 has table kernels for a case; elsewhere the option that asks for them changes nothing.</summary>
    public static bool TakesTables(OpBenchmarkCase test) =>
        PeerParameters(test) is { Bits: 2, GroupSize: > 0 } group && group.GroupSize % 32 == 0 && test.Shape.K % 32 == 0 && test.Shape.N % 128 == 0;

    /// <summary>The parameters of scheme group that stand for those of another: as many bits, as large groups, integer zero points.</summary>
    private static GroupParameters? PeerParameters(OpBenchmarkCase test)
    {
        if (test.Parameters is GroupParameters own) return own;
        var json = test.Scheme.ToJson(test.Parameters);
        if ((json["bits"], json["group_size"]) is not (JsonValue bits, { } size)) return null;

        // Beside widths that are mixed the narrowest.
        return new GroupParameters(bits.TryGetValue(out int whole) ? whole : (int)bits.GetValue<double>(), (int)size);
    }

    private static byte[] Data(TensorRole role, ElementType type, long count, OpBenchmarkCase test, Random random)
    {
        var bytes = new byte[type.ByteLength(count)];
        if (type is not (ElementType.Float16 or ElementType.Float32))
        {
            random.NextBytes(bytes);
            return bytes;
        }

        // Scales near 1/100, float zero points near the middle of the codes.
        var (center, width) = role == TensorRole.ZeroPoint && test.Parameters is GroupParameters { Bits: var bits } ? (1 << (bits - 1), 1.0) : (0.01, 0.005);
        var values = new float[count];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = (float)(center + (width * (random.NextDouble() - 0.5)));
        }

        Running.Elements.FromSingle(values, (Microsoft.ML.OnnxRuntime.Tensors.TensorElementType)type, bytes);
        return bytes;
    }

    private static AttributeProto Convert(OpAttributeValue attribute)
    {
        var proto = new AttributeProto { Name = attribute.Name, Type = (AttributeProto.Types.AttributeType)attribute.Kind };
        switch (attribute.Kind)
        {
            case AttributeKind.Int:
                proto.I = attribute.AsInt();
                break;
            case AttributeKind.Float:
                proto.F = attribute.AsFloat();
                break;
            case AttributeKind.String:
                proto.S = ByteString.CopyFromUtf8(attribute.AsString());
                break;
            case AttributeKind.Ints:
                proto.Ints.Add(attribute.AsInts());
                break;
            default:
                throw new NotSupportedException($"attribute '{attribute.Name}' of kind {attribute.Kind} has no place on a benchmark node");
        }

        return proto;
    }

    private static AttributeProto Integer(string name, long value) =>
        new() { Name = name, Type = AttributeProto.Types.AttributeType.Int, I = value };
}
