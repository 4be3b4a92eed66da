using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>A tensor whose raw form is in memory.</summary>
internal sealed class MemoryTensor : LazyTensor
{
    private readonly ReadOnlyMemory<byte> _data;

    internal MemoryTensor(ElementType type, IReadOnlyList<long> shape, ReadOnlyMemory<byte> data)
    {
        var expected = TensorSize.Bytes(type, shape, "tensor");
        if (expected != data.Length)
        {
            throw new ModelFormatException($"a tensor of {type} [{string.Join(", ", shape)}] has {data.Length} bytes; it must have {expected}");
        }

        (Type, Shape, _data) = (type, shape, data);
    }

    public override ElementType Type { get; }

    public override IReadOnlyList<long> Shape { get; }

    public override long ByteLength => _data.Length;

    public override void Read(long byteOffset, Span<byte> destination)
    {
        CheckRead(byteOffset, destination.Length);
        _data.Span.Slice((int)byteOffset, destination.Length).CopyTo(destination);
    }
}
