namespace OrtQuant.GraphRewriter.Graph;

/// <summary>
/// A file that appears whole or not at all: written under a temporary name in the folder of the output, flushed to the disk, then renamed.
/// Until <see cref="Commit"/> nothing has changed; without it nothing stays.
/// </summary>
internal sealed class OutputFile : IDisposable
{
    private const string Prefix = ".ortquant-";
    private const string Suffix = ".tmp";
    private readonly string _target;
    private readonly string _temporary;
    private readonly long _length;
    private readonly FileStream _stream;
    private bool _committed;

    private OutputFile(string target, string temporary, long length, FileStream stream) =>
        (_target, _temporary, _length, _stream) = (target, temporary, length, stream);

    /// <summary>Bytes written so far.</summary>
    internal long Position => _stream.Position;

    /// <summary>Begins a file.</summary>
    /// <param name="target">Path that it is meant for, or beside which it will be; its folder exists.</param>
    /// <param name="length">Bytes that will be written; they are reserved, so that a full disk is noticed before the work.</param>
    /// <exception cref="IOException">The disk has not that much room, or the folder cannot be written to.</exception>
    internal static OutputFile Create(string target, long length)
    {
        // The file stays locked while it is open: that tells a save at work from one that was killed.
        var temporary = TemporaryPath(Path.GetDirectoryName(target)!);
        try
        {
            return new OutputFile(target, temporary, length, new FileStream(temporary, new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.Write,
                Share = FileShare.None,
                BufferSize = 1,
                PreallocationSize = length,
            }));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            TryDelete(temporary);
            throw Explain(error, target, length);
        }
    }

    /// <summary>A name for a temporary file, which <see cref="RemoveStale"/> knows; the file must be locked while it is in use.</summary>
    internal static string TemporaryPath(string folder) => Path.Combine(folder, $"{Prefix}{Guid.NewGuid():N}{Suffix}");

    /// <summary>Writes a file of these bytes.</summary>
    /// <exception cref="IOException">The disk is full, or the file cannot be written.</exception>
    internal static void Write(string path, ReadOnlySpan<byte> content)
    {
        using var output = Create(path, content.Length);
        output.Write(content);
        output.Commit(path);
    }

    /// <summary>Writes the next bytes.</summary>
    /// <exception cref="IOException">The disk is full.</exception>
    internal void Write(ReadOnlySpan<byte> content)
    {
        try
        {
            _stream.Write(content);
        }
        catch (IOException error)
        {
            throw Explain(error, _target, _length);
        }
    }

    /// <summary>Renames the file to its final path, whole and on the disk.</summary>
    /// <exception cref="IOException">The disk is full, or the path cannot be written.</exception>
    internal void Commit(string path)
    {
        try
        {
            _stream.Flush(flushToDisk: true);

            // Windows does not rename an open file; elsewhere the lock is held until the name is final.
            if (OperatingSystem.IsWindows()) _stream.Dispose();
            File.Move(_temporary, path, overwrite: true);
            _committed = true;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw Explain(error, _target, _length);
        }
    }

    public void Dispose()
    {
        _stream.Dispose();
        if (!_committed) TryDelete(_temporary);
    }

    /// <summary>Deletes what saves that were killed left in a folder.</summary>
    internal static void RemoveStale(string folder)
    {
        foreach (var path in Directory.EnumerateFiles(folder, $"{Prefix}*{Suffix}"))
        {
            try
            {
                using (new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None, 1))
                {
                }

                File.Delete(path);
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                // Somebody is writing it.
            }
        }
    }

    internal static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // A leftover costs space, not correctness, and the next start tries again.
        }
    }

    // The system names the temporary file, which means nothing to the user.
    private static IOException Explain(Exception error, string target, long length)
    {
        var folder = Path.GetDirectoryName(target)!;
        var free = new DriveInfo(folder).AvailableFreeSpace;
        return free < length
            ? new IOException($"cannot write '{target}': it needs {length} bytes and the disk has {free} left", error)
            : new IOException($"cannot write '{target}': {error.Message}", error);
    }
}
