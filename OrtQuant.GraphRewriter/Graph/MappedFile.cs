using System.IO.MemoryMappedFiles;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>A file mapped into memory for reading. Its pages are the file's own: the system can drop them, and they are no memory of this process.</summary>
internal sealed unsafe class MappedFile : IDisposable
{
    private readonly MemoryMappedFile? _file;
    private readonly MemoryMappedViewAccessor? _view;
    private readonly byte* _start;

    internal MappedFile(string path)
    {
        Path = path;

        // What is no ordinary file (a pipe, a device) has no length; opening one might never come back.
        if (new FileInfo(path) is { Exists: true, Length: 0 }) return;
        var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
        Length = stream.Length;
        if (Length == 0)
        {
            // An empty file cannot be mapped.
            stream.Dispose();
            return;
        }

        _file = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false);
        _view = _file.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
        byte* start = null;
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
        _start = start + _view.PointerOffset;
    }

    internal string Path { get; }

    internal long Length { get; }

    /// <summary>Bytes of the file; valid until it is disposed.</summary>
    internal ReadOnlySpan<byte> Span(long offset, int count)
    {
        if (offset < 0 || count < 0 || count > Length - offset)
        {
            throw new ArgumentOutOfRangeException(nameof(offset), offset, $"bytes {offset} to {offset + count} are outside '{Path}', which has {Length}");
        }

        return count == 0 ? default : new ReadOnlySpan<byte>(_start + offset, count);
    }

    public void Dispose()
    {
        if (_view is null) return;
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
        _file!.Dispose();
    }
}
