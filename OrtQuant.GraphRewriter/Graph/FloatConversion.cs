using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>Converts runs of floating-point elements in raw form to float32 and back.</summary>
internal static class FloatConversion
{
    /// <summary>Widens elements; float64 is rounded to nearest.</summary>
    public static void ToFloat32(ReadOnlySpan<byte> bytes, ElementType type, Span<float> values)
    {
        switch (type)
        {
            case ElementType.Float32:
                bytes.CopyTo(MemoryMarshal.AsBytes(values));
                break;
            case ElementType.Float16:
                TensorPrimitives.ConvertToSingle(MemoryMarshal.Cast<byte, Half>(bytes), values);
                break;
            case ElementType.BFloat16:
                // A bfloat16 is the upper half of a float32.
                var bits = MemoryMarshal.Cast<float, uint>(values);
                TensorPrimitives.ConvertTruncating<ushort, uint>(MemoryMarshal.Cast<byte, ushort>(bytes), bits);
                TensorPrimitives.ShiftLeft<uint>(bits, 16, bits);
                break;
            case ElementType.Float64:
                TensorPrimitives.ConvertTruncating<double, float>(MemoryMarshal.Cast<byte, double>(bytes), values);
                break;
            default:
                throw NotAFloat(type);
        }
    }

    /// <summary>Narrows elements, rounding to nearest even.</summary>
    public static void FromFloat32(ReadOnlySpan<float> values, ElementType type, Span<byte> bytes)
    {
        switch (type)
        {
            case ElementType.Float32:
                MemoryMarshal.AsBytes(values).CopyTo(bytes);
                break;
            case ElementType.Float16:
                TensorPrimitives.ConvertToHalf(values, MemoryMarshal.Cast<byte, Half>(bytes));
                break;
            case ElementType.BFloat16:
                var halves = MemoryMarshal.Cast<byte, ushort>(bytes);
                for (var i = 0; i < values.Length; i++) halves[i] = ToBFloat16(values[i]);
                break;
            case ElementType.Float64:
                TensorPrimitives.ConvertTruncating<float, double>(values, MemoryMarshal.Cast<byte, double>(bytes));
                break;
            default:
                throw NotAFloat(type);
        }
    }

    private static ushort ToBFloat16(float value)
    {
        var bits = BitConverter.SingleToUInt32Bits(value);
        return float.IsNaN(value) ? (ushort)((bits >> 16) | 0x40) : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    private static ArgumentOutOfRangeException NotAFloat(ElementType type) =>
        new(nameof(type), type, $"element type is {type}; it must be Float32, Float16, BFloat16 or Float64");
}
