using System.Buffers;
using System.Runtime.InteropServices;
using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>A float tensor as float32: a view that converts while it is read, so that a large weight is never in memory as a whole.</summary>
internal sealed class ConvertedTensor : LazyTensor
{
    private const int BlockElements = 1 << 14;
    private readonly LazyTensor _source;
    private readonly int _sourceSize;

    /// <param name="source">A tensor of float16, bfloat16, float32 or float64.</param>
    internal ConvertedTensor(LazyTensor source)
    {
        _source = source;
        _sourceSize = (int)source.Type.ByteLength(1);
        ByteLength = TensorSize.Bytes(ElementType.Float32, source.Shape, "converted tensor");
    }

    /// <summary>The tensor as it is stored: the same values, since widening is exact (but for float64).</summary>
    internal LazyTensor Source => _source;

    public override ElementType Type => ElementType.Float32;

    public override IReadOnlyList<long> Shape => _source.Shape;

    public override long ByteLength { get; }

    public override void Read(long byteOffset, Span<byte> destination)
    {
        CheckRead(byteOffset, destination.Length);
        var bytes = ArrayPool<byte>.Shared.Rent(BlockElements * _sourceSize);
        var values = ArrayPool<float>.Shared.Rent(BlockElements);
        try
        {
            while (destination.Length > 0)
            {
                // A read may start or end inside an element.
                var (first, skip) = Math.DivRem(byteOffset, sizeof(float));
                var count = (int)Math.Min(BlockElements, (skip + destination.Length + sizeof(float) - 1) / sizeof(float));
                var source = bytes.AsSpan(0, count * _sourceSize);
                _source.Read(first * _sourceSize, source);
                FloatBytes.Decode(_source.Type, source, values.AsSpan(0, count));
                var converted = MemoryMarshal.AsBytes(values.AsSpan(0, count))[(int)skip..];
                converted = converted[..Math.Min(converted.Length, destination.Length)];
                converted.CopyTo(destination);
                destination = destination[converted.Length..];
                byteOffset += converted.Length;
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
            ArrayPool<float>.Shared.Return(values);
        }
    }
}
