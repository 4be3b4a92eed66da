using System.Runtime.InteropServices;
using Onnx;
using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>Tensor data inside a TensorProto: raw, or in one of the typed fields.</summary>
internal static class InlineData
{
    /// <exception cref="ModelFormatException">The data does not fit type and dimensions.</exception>
    internal static LazyTensor Read(TensorProto proto)
    {
        var type = (ElementType)proto.DataType;
        var what = $"tensor '{proto.Name}'";
        if (proto.Segment is not null) throw new ModelFormatException($"{what} is a segment of a larger one, which ONNX Runtime does not read either");
        var expected = TensorSize.Bytes(type, proto.Dims, what);
        ReadOnlyMemory<byte> data = proto.HasRawData ? proto.RawData.Memory : Typed(proto, type, what);
        if (data.Length != expected)
        {
            throw new ModelFormatException($"{what} of {type} [{string.Join(", ", proto.Dims)}] has {data.Length} bytes of data; it must have {expected}");
        }

        return new MemoryTensor(type, [.. proto.Dims], data);
    }

    private static byte[] Typed(TensorProto proto, ElementType type, string what) => type switch
    {
        ElementType.Float32 or ElementType.Complex64 => Bytes<float>([.. proto.FloatData]),
        ElementType.Float64 or ElementType.Complex128 => Bytes<double>([.. proto.DoubleData]),
        ElementType.Int64 => Bytes<long>([.. proto.Int64Data]),
        ElementType.UInt64 => Bytes<ulong>([.. proto.Uint64Data]),
        ElementType.UInt32 => Bytes<uint>([.. proto.Uint64Data.Select(value => (uint)value)]),
        ElementType.Int32 => Bytes<int>([.. proto.Int32Data]),
        ElementType.Int16 or ElementType.UInt16 or ElementType.Float16 or ElementType.BFloat16 => Bytes<ushort>([.. proto.Int32Data.Select(value => (ushort)value)]),
        _ when type.BitWidth() <= 8 => Bytes<byte>([.. proto.Int32Data.Select(value => (byte)value)]),
        _ => throw new ModelFormatException($"{what} has element type {type}, which has no typed data field"),
    };

    private static byte[] Bytes<T>(T[] values)
        where T : unmanaged => MemoryMarshal.AsBytes<T>(values).ToArray();
}
