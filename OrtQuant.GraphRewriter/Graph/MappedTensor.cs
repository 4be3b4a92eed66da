using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>A tensor that is a piece of a mapped file: external data, or raw data inside the model file.</summary>
internal sealed class MappedTensor(MappedFile file, long offset, ElementType type, IReadOnlyList<long> shape, long byteLength) : LazyTensor
{
    public override ElementType Type => type;

    public override IReadOnlyList<long> Shape => shape;

    public override long ByteLength => byteLength;

    public override void Read(long byteOffset, Span<byte> destination)
    {
        CheckRange(byteOffset, destination.Length);
        file.Span(offset + byteOffset, destination.Length).CopyTo(destination);
    }

    public override bool TryGetSpan(long byteOffset, int length, out ReadOnlySpan<byte> bytes)
    {
        CheckRange(byteOffset, length);
        bytes = file.Span(offset + byteOffset, length);
        return true;
    }
}
