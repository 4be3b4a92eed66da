namespace OrtQuant.GraphRewriter.Graph;

/// <summary>Paths without symbolic links.</summary>
internal static class CanonicalPath
{
    private const int MostLinks = 40;

    /// <summary>Where a full path leads to: every link in it, at any level, replaced by its target.</summary>
    /// <exception cref="IOException">The links form a cycle.</exception>
    public static string Of(string path)
    {
        var links = 0;
        var root = Path.GetPathRoot(path)!;
        var rest = new Stack<string>(Parts(path[root.Length..]).Reverse());
        var at = root;
        while (rest.TryPop(out var part))
        {
            var next = Path.Combine(at, part);
            FileSystemInfo entry = Directory.Exists(next) ? new DirectoryInfo(next) : new FileInfo(next);
            if (entry.LinkTarget is not { } target)
            {
                at = next;
                continue;
            }

            if (++links > MostLinks) throw new IOException($"'{path}' has more than {MostLinks} symbolic links");
            var full = Path.GetFullPath(target, at);
            at = Path.GetPathRoot(full)!;
            foreach (var targetPart in Parts(full[at.Length..]).Reverse()) rest.Push(targetPart);
        }

        return at;
    }

    private static IEnumerable<string> Parts(string path) =>
        path.Split([Path.DirectorySeparatorChar, Path.AltDirectorySeparatorChar], StringSplitOptions.RemoveEmptyEntries);
}
