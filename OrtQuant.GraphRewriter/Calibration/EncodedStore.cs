using Microsoft.Win32.SafeHandles;

namespace OrtQuant.GraphRewriter.Calibration;

/// <summary>
/// Encoded weights between being quantized and being saved, in a temporary file beside the output: none stays in memory. The file is locked, goes with
/// the object, and is taken for a leftover by the next save if the process is killed.
/// </summary>
internal sealed class EncodedStore : IDisposable
{
    private readonly string _path;
    private readonly SafeFileHandle _file;
    private long _length;

    /// <summary>Makes the file.</summary>
    /// <param name="folder">Folder of the output; made if it is not there.</param>
    /// <exception cref="IOException">It cannot be made.</exception>
    internal EncodedStore(string folder)
    {
        Directory.CreateDirectory(folder);
        _path = Graph.OutputFile.TemporaryPath(folder);
        _file = File.OpenHandle(_path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None);
    }

    /// <summary>Keeps tensors.</summary>
    /// <returns>What <see cref="Read"/> is to be called with.</returns>
    /// <exception cref="IOException">The disk is full.</exception>
    internal StoredTensors Write(IReadOnlyList<ReadOnlyMemory<byte>> tensors)
    {
        var start = _length;
        foreach (var tensor in tensors)
        {
            RandomAccess.Write(_file, tensor.Span, _length);
            _length += tensor.Length;
        }

        return new StoredTensors(this, start, [.. tensors.Select(tensor => tensor.Length)]);
    }

    internal void Read(long offset, Span<byte> destination)
    {
        while (destination.Length > 0)
        {
            var count = RandomAccess.Read(_file, destination, offset);
            if (count == 0) throw new IOException($"the temporary file '{_path}' is shorter than what was written to it");
            destination = destination[count..];
            offset += count;
        }
    }

    public void Dispose()
    {
        _file.Dispose();
        Graph.OutputFile.TryDelete(_path);
    }
}

/// <summary>The tensors of one weight in a store.</summary>
internal sealed record StoredTensors(EncodedStore Store, long Offset, IReadOnlyList<int> Lengths)
{
    /// <summary>Copies all of them.</summary>
    internal void Read(IReadOnlyList<Memory<byte>> destinations)
    {
        var offset = Offset;
        for (var i = 0; i < Lengths.Count; i++)
        {
            Store.Read(offset, destinations[i].Span);
            offset += Lengths[i];
        }
    }

    /// <summary>A copy of one of them.</summary>
    internal byte[] Read(int index)
    {
        var bytes = GC.AllocateUninitializedArray<byte>(Lengths[index]);
        Store.Read(Offset + Lengths.Take(index).Sum(length => (long)length), bytes);
        return bytes;
    }
}
