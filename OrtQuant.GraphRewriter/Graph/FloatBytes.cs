using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>Float elements in ONNX's raw form.</summary>
internal static class FloatBytes
{
    internal static byte[] Encode(ElementType type, ReadOnlySpan<float> values)
    {
        var bytes = new byte[type.ByteLength(values.Length)];
        Encode(type, values, bytes);
        return bytes;
    }

    /// <summary>Rounds to nearest even.</summary>
    internal static void Encode(ElementType type, ReadOnlySpan<float> values, Span<byte> bytes)
    {
        switch (type)
        {
            case ElementType.Float32:
                MemoryMarshal.AsBytes(values).CopyTo(bytes);
                break;
            case ElementType.Float16:
                TensorPrimitives.ConvertToHalf(values, MemoryMarshal.Cast<byte, Half>(bytes));
                break;
            case ElementType.Float64:
                TensorPrimitives.ConvertChecked<float, double>(values, MemoryMarshal.Cast<byte, double>(bytes));
                break;
            case ElementType.BFloat16:
                var halves = MemoryMarshal.Cast<byte, ushort>(bytes);
                for (var i = 0; i < values.Length; i++) halves[i] = RoundToBFloat16(values[i]);
                break;
            default:
                throw NotFloat(type);
        }
    }

    internal static float[] Decode(ElementType type, ReadOnlySpan<byte> bytes)
    {
        var values = new float[bytes.Length * 8 / Math.Max(type.BitWidth(), 1)];
        Decode(type, bytes, values);
        return values;
    }

    internal static void Decode(ElementType type, ReadOnlySpan<byte> bytes, Span<float> values)
    {
        switch (type)
        {
            case ElementType.Float32:
                bytes.CopyTo(MemoryMarshal.AsBytes(values));
                break;
            case ElementType.Float16:
                TensorPrimitives.ConvertToSingle(MemoryMarshal.Cast<byte, Half>(bytes), values);
                break;
            case ElementType.Float64:
                TensorPrimitives.ConvertTruncating<double, float>(MemoryMarshal.Cast<byte, double>(bytes), values);
                break;
            case ElementType.BFloat16:
                var halves = MemoryMarshal.Cast<byte, ushort>(bytes);
                // A bfloat16 is the upper half of a float32.
                var bits = MemoryMarshal.Cast<float, uint>(values);
                TensorPrimitives.ConvertTruncating<ushort, uint>(halves, bits);
                TensorPrimitives.ShiftLeft<uint>(bits, 16, bits);
                break;
            default:
                throw NotFloat(type);
        }
    }

    private static ushort RoundToBFloat16(float value)
    {
        var bits = BitConverter.SingleToUInt32Bits(value);
        if (float.IsNaN(value)) return (ushort)((bits >> 16) | 0x40);
        return (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    private static ModelFormatException NotFloat(ElementType type) =>
        new($"a tensor of {type} stands where one of Float32, Float16, BFloat16 or Float64 is required");
}
