using System.Buffers;
using System.Runtime.InteropServices;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Weights;

/// <summary>Reads runs of floating-point elements of a tensor as float32.</summary>
internal static class ElementReader
{
    /// <summary>The element types that can be read.</summary>
    public static IReadOnlyList<ElementType> Types { get; } = [ElementType.Float32, ElementType.Float16, ElementType.BFloat16, ElementType.Float64];

    /// <summary>Reads consecutive elements; float64 is rounded to nearest.</summary>
    /// <param name="tensor">A tensor of one of <see cref="Types"/>.</param>
    /// <param name="index">Index of the first element, row-major.</param>
    /// <param name="values">Receives its whole length.</param>
    public static void Read(LazyTensor tensor, long index, Span<float> values)
    {
        if (tensor.TryReadFloats(index, values)) return;
        if (tensor.Type == ElementType.Float32)
        {
            tensor.Read(index * sizeof(float), MemoryMarshal.AsBytes(values));
            return;
        }

        var size = (int)tensor.Type.ByteLength(1);
        var buffer = ArrayPool<byte>.Shared.Rent(values.Length * size);
        try
        {
            var bytes = buffer.AsSpan(0, values.Length * size);
            tensor.Read(index * size, bytes);
            FloatBytes.Decode(tensor.Type, bytes, values);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
