namespace OrtQuant.Descriptions;

/// <summary>Sizes and names of <see cref="ElementType"/>.</summary>
public static class ElementTypes
{
    /// <summary>Bits one element takes in raw tensor data.</summary>
    /// <exception cref="NotSupportedException"><paramref name="type"/> has no fixed width (<see cref="ElementType.String"/>, <see cref="ElementType.Undefined"/>).</exception>
    public static int BitWidth(this ElementType type) => type switch
    {
        ElementType.UInt2 or ElementType.Int2 => 2,
        ElementType.UInt4 or ElementType.Int4 or ElementType.Float4E2M1 => 4,
        ElementType.UInt8 or ElementType.Int8 or ElementType.Bool or ElementType.Float8E4M3FN or ElementType.Float8E4M3FNUZ
            or ElementType.Float8E5M2 or ElementType.Float8E5M2FNUZ or ElementType.Float8E8M0 => 8,
        ElementType.UInt16 or ElementType.Int16 or ElementType.Float16 or ElementType.BFloat16 => 16,
        ElementType.Float32 or ElementType.Int32 or ElementType.UInt32 => 32,
        ElementType.Float64 or ElementType.Int64 or ElementType.UInt64 or ElementType.Complex64 => 64,
        ElementType.Complex128 => 128,
        _ => throw new NotSupportedException($"Element type {type} has no fixed width."),
    };

    /// <summary>Bytes <paramref name="count"/> elements take in raw tensor data; types below 8 bits are packed and rounded up to a byte.</summary>
    /// <exception cref="NotSupportedException">The type has no fixed width.</exception>
    /// <exception cref="OverflowException">The size exceeds 2^63 - 1 bytes.</exception>
    public static long ByteLength(this ElementType type, long count)
    {
        int bits = type.BitWidth();
        return bits >= 8 ? checked(count * (bits / 8)) : checked((count + (8 / bits) - 1) / (8 / bits));
    }

    /// <summary>Whether the type is a floating-point type of 16 bits or more: what an activation, scale or bias can be.</summary>
    public static bool IsFloat(this ElementType type) =>
        type is ElementType.Float32 or ElementType.Float16 or ElementType.BFloat16 or ElementType.Float64;
}
