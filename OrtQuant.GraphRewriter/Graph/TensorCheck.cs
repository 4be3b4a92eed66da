using Onnx;
using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>What must hold for every tensor of a model.</summary>
internal static class TensorCheck
{
    /// <summary>Element type and bytes that a tensor's elements take in raw form.</summary>
    /// <exception cref="ModelFormatException">The type is unknown, a dimension is negative, or the size exceeds 2^63 - 1 bytes.</exception>
    public static (ElementType Type, long ByteLength) Geometry(TensorProto proto)
    {
        var type = (ElementType)proto.DataType;
        if (!Enum.IsDefined(type) || type is ElementType.Undefined)
        {
            throw new ModelFormatException($"tensor '{proto.Name}' has data type {proto.DataType}; it must be 1 to {(int)Enum.GetValues<ElementType>().Max()}");
        }

        var count = 1L;
        try
        {
            foreach (var dimension in proto.Dims)
            {
                if (dimension < 0)
                {
                    throw new ModelFormatException($"tensor '{proto.Name}' has dimensions [{string.Join(", ", proto.Dims)}]; each must be 0 or more");
                }

                count = checked(count * dimension);
            }

            return (type, type == ElementType.String ? 0 : type.ByteLength(count));
        }
        catch (OverflowException)
        {
            throw new ModelFormatException($"tensor '{proto.Name}' has dimensions [{string.Join(", ", proto.Dims)}]; its size must be less than 2^63 bytes");
        }
    }
}
