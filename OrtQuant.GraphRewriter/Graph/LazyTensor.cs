using System.Buffers.Binary;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
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

    /// <summary>Product of the dimensions.</summary>
    public long ElementCount => Shape.Aggregate(1L, (product, dimension) => checked(product * dimension));

    /// <summary>Copies bytes of the raw form.</summary>
    /// <param name="byteOffset">Offset of the first byte.</param>
    /// <param name="destination">Receives its whole length.</param>
    /// <exception cref="ArgumentOutOfRangeException">The bytes are outside the tensor.</exception>
    public abstract void Read(long byteOffset, Span<byte> destination);

<<<<<<< Updated upstream
    /// <summary>Bytes of the raw form where they lie, without a copy; false where they are nowhere. Valid while the model is open.</summary>
    internal virtual bool TryGetSpan(long byteOffset, int count, out ReadOnlySpan<byte> bytes)
=======
    /// <summary>
    /// The bytes themselves, where they lie in memory or in a mapped file, without a copy. Valid while the model is not disposed.
    /// </summary>
    /// <param name="byteOffset">Offset of the first byte.</param>
    /// <param name="length">Number of bytes.</param>
    /// <param name="bytes">The bytes.</param>
    /// <returns>False where the tensor has no bytes to point at; <see cref="Read"/> always works.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The bytes are outside the tensor.</exception>
    public virtual bool TryGetSpan(long byteOffset, int length, out ReadOnlySpan<byte> bytes)
>>>>>>> Stashed changes
    {
        bytes = default;
        return false;
    }
<<<<<<< Updated upstream

    /// <summary>A tensor that holds bytes in memory.</summary>
    /// <param name="type">Element type.</param>
    /// <param name="shape">Dimensions.</param>
    /// <param name="data">The raw form; kept, not copied.</param>
    public static LazyTensor FromBytes(ElementType type, IReadOnlyList<long> shape, ReadOnlyMemory<byte> data) => new MemoryTensor(type, shape, data);
=======
>>>>>>> Stashed changes

    /// <summary>A tensor of given bytes in ONNX's raw form.</summary>
    /// <exception cref="ArgumentException">The number of bytes is not what type and shape need.</exception>
    public static LazyTensor FromBytes(ElementType type, IReadOnlyList<long> shape, ReadOnlyMemory<byte> bytes) => new MemoryTensor(type, shape, bytes);

    /// <summary>A tensor of given values, rounded to nearest even in <paramref name="type"/>.</summary>
    /// <param name="type">Float32, Float16, BFloat16 or Float64.</param>
    /// <param name="shape">Dimensions.</param>
    /// <param name="values">Elements, row-major.</param>
    /// <exception cref="ArgumentException">The type is none of these, or the number of values is not that of the shape.</exception>
    public static LazyTensor FromFloats(ElementType type, IReadOnlyList<long> shape, ReadOnlySpan<float> values)
    {
        var bytes = new byte[type.ByteLength(values.Length)];
        FloatConversion.FromFloat32(values, type, bytes);
        return new MemoryTensor(type, shape, bytes);
    }

    /// <summary>A tensor of 64-bit integers: a shape, axes, sizes.</summary>
    /// <exception cref="ArgumentException">The number of values is not that of the shape.</exception>
    public static LazyTensor FromInt64s(IReadOnlyList<long> shape, ReadOnlySpan<long> values) =>
        new MemoryTensor(ElementType.Int64, shape, MemoryMarshal.AsBytes(values).ToArray());

    /// <summary>All bytes in raw form, as one array.</summary>
    /// <exception cref="OrtQuantException">There are more bytes than one array can hold.</exception>
    public byte[] ReadBytes()
    {
        if (ByteLength > Array.MaxLength)
        {
            throw new OrtQuantException($"a tensor of shape [{string.Join(", ", Shape)}] has {ByteLength} bytes; at most {Array.MaxLength} can be read at once");
        }

        var bytes = GC.AllocateUninitializedArray<byte>((int)ByteLength);
        Read(0, bytes);
        return bytes;
    }

    /// <summary>All elements as float32; float64 is rounded to nearest.</summary>
    /// <exception cref="OrtQuantException">The type is no floating-point type of 16 bits or more, or the tensor is too large for one array.</exception>
    public float[] ReadFloats()
    {
        if (!Type.IsFloat())
        {
            throw new OrtQuantException($"a tensor of {Type} cannot be read as float; it must be Float32, Float16, BFloat16 or Float64");
        }

        var bytes = ReadBytes();
        var values = new float[bytes.Length / (int)Type.ByteLength(1)];
        FloatConversion.ToFloat32(bytes, Type, values);
        return values;
    }

    /// <summary>All elements as 64-bit integers: shapes, axes, sizes.</summary>
    /// <exception cref="OrtQuantException">The type is neither Int64 nor Int32, or the tensor is too large for one array.</exception>
    public long[] ReadInt64s()
    {
        var bytes = Type is ElementType.Int64 or ElementType.Int32
            ? ReadBytes()
            : throw new OrtQuantException($"a tensor of {Type} cannot be read as integers; it must be Int64 or Int32");
        return Type == ElementType.Int64
            ? MemoryMarshal.Cast<byte, long>(bytes).ToArray()
            : Array.ConvertAll(MemoryMarshal.Cast<byte, int>(bytes).ToArray(), value => (long)value);
    }

    /// <summary>Throws unless the bytes are inside the tensor.</summary>
    protected void CheckRange(long byteOffset, int length)
    {
        if (byteOffset < 0 || byteOffset > ByteLength - length)
        {
            throw new ArgumentOutOfRangeException(
                nameof(byteOffset), byteOffset, $"bytes {byteOffset} to {byteOffset + length} are outside a tensor of {ByteLength} bytes");
        }
    }
}
