using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>A tensor whose raw form is a part of a mapped file: an external data file, or the model file itself.</summary>
internal sealed class FileTensor : LazyTensor
{
    private readonly MappedFile _file;
    private readonly long _offset;

    internal FileTensor(ElementType type, IReadOnlyList<long> shape, MappedFile file, long offset, long byteLength) =>
        (Type, Shape, _file, _offset, ByteLength) = (type, shape, file, offset, byteLength);

    /// <summary>Path of the file.</summary>
    internal string Path => _file.Path;

    /// <summary>Place of the first byte in the file.</summary>
    internal long Offset => _offset;

    public override ElementType Type { get; }

    public override IReadOnlyList<long> Shape { get; }

    public override long ByteLength { get; }

    public override void Read(long byteOffset, Span<byte> destination)
    {
        CheckRead(byteOffset, destination.Length);
        _file.Span(_offset + byteOffset, destination.Length).CopyTo(destination);
    }

    internal override bool TryGetSpan(long byteOffset, int count, out ReadOnlySpan<byte> bytes)
    {
        CheckRead(byteOffset, count);
        bytes = _file.Span(_offset + byteOffset, count);
        return true;
    }
}
