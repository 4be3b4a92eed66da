using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>Sizes that a file claims, computed without overflow.</summary>
internal static class TensorSize
{
    /// <summary>Bytes of the raw form.</summary>
    /// <exception cref="ModelFormatException">A dimension is negative, the product overflows, or the type has no raw form.</exception>
    internal static long Bytes(ElementType type, IReadOnlyList<long> shape, string what)
    {
        var width = type.BitWidthOrZero();
        if (width == 0) throw new ModelFormatException($"{what} has element type {type}, which has no raw form");
        return Bits(shape, width, what) / 8 is var bytes && Bits(shape, width, what) % 8 != 0 ? bytes + 1 : bytes;
    }

    private static long Bits(IReadOnlyList<long> shape, int width, string what)
    {
        foreach (var dimension in shape)
        {
            if (dimension < 0) throw new ModelFormatException($"{what} has dimensions [{string.Join(", ", shape)}]; each must be 0 or more");
        }

        if (shape.Contains(0)) return 0;
        try
        {
            return shape.Aggregate((long)width, (product, dimension) => checked(product * dimension));
        }
        catch (OverflowException)
        {
            throw new ModelFormatException($"{what} has dimensions [{string.Join(", ", shape)}], whose product is past the largest size of a tensor");
        }
    }

    private static int BitWidthOrZero(this ElementType type) =>
        Enum.IsDefined(type) && type is not (ElementType.Undefined or ElementType.String) ? type.BitWidth() : 0;
}
