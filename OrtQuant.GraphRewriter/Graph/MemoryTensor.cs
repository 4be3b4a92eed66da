using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>A tensor whose bytes are in memory.</summary>
internal sealed class MemoryTensor : LazyTensor
{
    private readonly ReadOnlyMemory<byte> _bytes;

    public MemoryTensor(ElementType type, IReadOnlyList<long> shape, ReadOnlyMemory<byte> bytes)
    {
        Type = type;
        Shape = [.. shape];
        _bytes = bytes;
        var needed = type.ByteLength(ElementCount);
        if (bytes.Length != needed)
        {
            throw new ArgumentException($"{bytes.Length} bytes given; a tensor of {type} and shape [{string.Join(", ", shape)}] has {needed}", nameof(bytes));
        }
    }

    public override ElementType Type { get; }

    public override IReadOnlyList<long> Shape { get; }

    public override long ByteLength => _bytes.Length;

    public override void Read(long byteOffset, Span<byte> destination)
    {
        CheckRange(byteOffset, destination.Length);
        _bytes.Span.Slice((int)byteOffset, destination.Length).CopyTo(destination);
    }

    public override bool TryGetSpan(long byteOffset, int length, out ReadOnlySpan<byte> bytes)
    {
        CheckRange(byteOffset, length);
        bytes = _bytes.Span.Slice((int)byteOffset, length);
        return true;
    }
}
