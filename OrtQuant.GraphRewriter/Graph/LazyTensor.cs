using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
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

    /// <summary>Number of elements.</summary>
    public long Count => Shape.Aggregate(1L, (product, dimension) => checked(product * dimension));

    /// <summary>Copies bytes of the raw form.</summary>
    /// <param name="byteOffset">Offset of the first byte.</param>
    /// <param name="destination">Receives its whole length.</param>
    /// <exception cref="ArgumentOutOfRangeException">The bytes are outside the tensor.</exception>
    public abstract void Read(long byteOffset, Span<byte> destination);

    /// <summary>Bytes of the raw form where they lie, without a copy; false where they are nowhere. Valid while the model is open.</summary>
    internal virtual bool TryGetSpan(long byteOffset, int count, out ReadOnlySpan<byte> bytes)
    {
        bytes = default;
        return false;
    }

    /// <summary>Elements with more precision than <see cref="Type"/> has, where the tensor knows them so; else false. Read through <see cref="Weights.ElementReader"/>.</summary>
    internal virtual bool TryReadFloats(long index, Span<float> values) => false;

    /// <summary>A tensor that holds bytes in memory.</summary>
    /// <param name="type">Element type.</param>
    /// <param name="shape">Dimensions.</param>
    /// <param name="data">The raw form; kept, not copied.</param>
    public static LazyTensor FromBytes(ElementType type, IReadOnlyList<long> shape, ReadOnlyMemory<byte> data) => new MemoryTensor(type, shape, data);

    /// <summary>A float tensor in memory, rounded to nearest even where the type is narrower than float32.</summary>
    /// <param name="type">Float32, Float16, BFloat16 or Float64.</param>
    /// <param name="shape">Dimensions.</param>
    /// <param name="values">Elements, row-major.</param>
    public static LazyTensor FromFloats(ElementType type, IReadOnlyList<long> shape, ReadOnlySpan<float> values) =>
        new MemoryTensor(type, shape, FloatBytes.Encode(type, values));

    /// <summary>An int64 tensor in memory.</summary>
    /// <param name="shape">Dimensions.</param>
    /// <param name="values">Elements, row-major.</param>
    public static LazyTensor FromInt64s(IReadOnlyList<long> shape, ReadOnlySpan<long> values) =>
        new MemoryTensor(ElementType.Int64, shape, MemoryMarshal.AsBytes(values).ToArray());

    /// <summary>All bytes of the raw form.</summary>
    public byte[] ReadBytes()
    {
        var bytes = new byte[checked((int)ByteLength)];
        Read(0, bytes);
        return bytes;
    }

    /// <summary>All elements of an int64 or int32 tensor.</summary>
    public long[] ReadInt64s()
    {
        var bytes = ReadBytes();
        return Type switch
        {
            ElementType.Int64 => MemoryMarshal.Cast<byte, long>(bytes).ToArray(),
            ElementType.Int32 => Array.ConvertAll(MemoryMarshal.Cast<byte, int>(bytes).ToArray(), value => (long)value),
            _ => throw new ModelFormatException($"a tensor of {Type} stands where int64 or int32 is required"),
        };
    }

    /// <summary>All elements of a float tensor, as float32.</summary>
    public float[] ReadFloats() => FloatBytes.Decode(Type, ReadBytes());

    /// <summary>A hash of type, shape and data, to find equal tensors.</summary>
    public UInt128 ContentHash()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(MemoryMarshal.AsBytes<long>([(long)Type, .. Shape]));
        var buffer = new byte[Math.Min(ByteLength, 1 << 20)];
        for (var at = 0L; at < ByteLength; at += buffer.Length)
        {
            var part = buffer.AsSpan(0, (int)Math.Min(buffer.Length, ByteLength - at));
            Read(at, part);
            hash.AppendData(part);
        }

        return BinaryPrimitives.ReadUInt128LittleEndian(hash.GetHashAndReset());
    }

    /// <summary>Throws unless the bytes lie within the tensor.</summary>
    protected void CheckRead(long byteOffset, int count)
    {
        if (byteOffset < 0 || count > ByteLength - byteOffset)
        {
            throw new ArgumentOutOfRangeException(nameof(byteOffset), byteOffset, $"bytes {byteOffset} to {byteOffset + count} are outside a tensor of {ByteLength} bytes");
        }
    }
}
