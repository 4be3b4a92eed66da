using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>
/// A constant of the model whose bytes are read on demand: mapped external data, raw or typed data inside the model, or data that is
/// produced when the model is saved. Reads are thread-safe.
/// </summary>
public abstract class LazyTensor
{
    /// <summary>Element type.</summary>
    public abstract ElementType Type { get; }

    /// <summary>Dimensions, row-major; empty for a scalar.</summary>
    public abstract IReadOnlyList<long> Shape { get; }

    /// <summary>Bytes of the data in ONNX's raw form, little-endian.</summary>
    public abstract long ByteLength { get; }

    /// <summary>Copies bytes of the raw form.</summary>
    /// <param name="byteOffset">Offset of the first byte.</param>
    /// <param name="destination">Receives its whole length.</param>
    /// <exception cref="ArgumentOutOfRangeException">The bytes are outside the tensor.</exception>
    public abstract void Read(long byteOffset, Span<byte> destination);
}
