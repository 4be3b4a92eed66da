using System.Runtime.InteropServices;
using Google.Protobuf.Collections;
using Onnx;
using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>Tensors whose elements are in the message: raw, or in the typed field of their type.</summary>
internal static class InlineTensor
{
    /// <summary>The elements of a message in raw form.</summary>
    /// <exception cref="ModelFormatException">There are more or fewer elements than the dimensions say.</exception>
    public static LazyTensor Read(TensorProto proto)
    {
        var (type, needed) = TensorCheck.Geometry(proto);
        var bytes = proto.HasRawData ? proto.RawData.Memory : TypedField(proto, type);
        if (bytes.Length != needed)
        {
            var field = proto.HasRawData ? "of raw data" : "of typed data";
            throw new ModelFormatException(
                $"tensor '{proto.Name}' has {bytes.Length} bytes {field}; its type {type} and dimensions [{string.Join(", ", proto.Dims)}] need {needed}");
        }

        return new MemoryTensor(type, proto.Dims, bytes);
    }

    private static byte[] TypedField(TensorProto proto, ElementType type) => type switch
    {
        ElementType.Float32 or ElementType.Complex64 => Bytes(proto.FloatData),
        ElementType.Float64 or ElementType.Complex128 => Bytes(proto.DoubleData),
        ElementType.Int64 => Bytes(proto.Int64Data),
        ElementType.UInt64 => Bytes(proto.Uint64Data),
        ElementType.UInt32 => Bytes(proto.Uint64Data.Select(value => (uint)value)),
        ElementType.Int32 => Bytes(proto.Int32Data),
        ElementType.Int16 or ElementType.UInt16 or ElementType.Float16 or ElementType.BFloat16 => Bytes(proto.Int32Data.Select(value => (ushort)value)),
        // One byte an entry: one element of 8 bits, or several smaller ones as raw data has them.
        _ => Bytes(proto.Int32Data.Select(value => (byte)value)),
    };

    private static byte[] Bytes<T>(IEnumerable<T> values)
        where T : unmanaged => MemoryMarshal.AsBytes<T>(values.ToArray()).ToArray();
}
