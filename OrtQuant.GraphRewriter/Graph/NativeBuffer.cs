using System.Buffers;
using System.Runtime.InteropServices;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>
/// Bytes outside the garbage-collected heap, given back at once when they are done with: large short-lived arrays would stay until the
/// next full collection.
/// </summary>
internal sealed unsafe class NativeBuffer : MemoryManager<byte>
{
    private const int Alignment = 64;
    private readonly int _length;
    private byte* _start;

    internal NativeBuffer(int length)
    {
        _length = length;
        _start = (byte*)NativeMemory.AlignedAlloc((nuint)Math.Max(length, 1), Alignment);
    }

    public override Span<byte> GetSpan()
    {
        ObjectDisposedException.ThrowIf(_start is null, this);
        return new Span<byte>(_start, _length);
    }

    public override MemoryHandle Pin(int elementIndex = 0) => new(_start + elementIndex);

    public override void Unpin()
    {
    }

    protected override void Dispose(bool disposing)
    {
        NativeMemory.AlignedFree(_start);
        _start = null;
    }
}
