namespace OrtQuant.GraphRewriter.Graph;

/// <summary>
/// A folder that appears whole or not at all: filled under a temporary name beside its place, then renamed. A folder that exists already is filled
/// as it stands: each file in it is renamed into place by itself, the graph last.
/// </summary>
internal sealed class OutputFolder : IDisposable
{
    private const string Prefix = ".ortquant-";
    private const string Suffix = ".folder";
    private const string LockSuffix = ".lock";
    private readonly string _target;
    private readonly FileStream? _lock;

    private OutputFolder(string target, string path, FileStream? held) => (_target, Path, _lock) = (target, path, held);

    /// <summary>Where to write the files.</summary>
    internal string Path { get; }

    /// <summary>Begins a folder.</summary>
    /// <param name="target">Full path that it will have.</param>
    /// <exception cref="IOException">The folder cannot be made.</exception>
    internal static OutputFolder Begin(string target)
    {
        if (Directory.Exists(target)) return new OutputFolder(target, target, null);
        var parent = System.IO.Path.GetDirectoryName(target)!;
        Directory.CreateDirectory(parent);
        RemoveStale(parent);
        var path = System.IO.Path.Combine(parent, $"{Prefix}{Guid.NewGuid():N}{Suffix}");

        // Held while the folder is filled: that tells it from one whose process was killed.
        var held = new FileStream(path + LockSuffix, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1, FileOptions.DeleteOnClose);
        try
        {
            Directory.CreateDirectory(path);
            return new OutputFolder(target, path, held);
        }
        catch
        {
            held.Dispose();
            throw;
        }
    }

    /// <summary>Gives the folder its name.</summary>
    /// <exception cref="IOException">Something else has taken the name meanwhile.</exception>
    internal void Commit()
    {
        if (_lock is not null) Directory.Move(Path, _target);
    }

    public void Dispose()
    {
        if (_lock is null) return;
        TryDelete(Path);
        _lock.Dispose();
    }

    private static void RemoveStale(string parent)
    {
        foreach (var path in Directory.EnumerateDirectories(parent, $"{Prefix}*{Suffix}"))
        {
            try
            {
                using (new FileStream(path + LockSuffix, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1, FileOptions.DeleteOnClose))
                {
                    TryDelete(path);
                }
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                // Somebody is filling it.
            }
        }
    }

    private static void TryDelete(string folder)
    {
        try
        {
            if (Directory.Exists(folder)) Directory.Delete(folder, recursive: true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // A leftover costs space, not correctness, and the next start tries again.
        }
    }
}
