namespace OrtQuant.GraphRewriter.Graph;

/// <summary>Locations of external data: names of files within the model's folder, whatever an untrusted model says.</summary>
internal static class ExternalPath
{
    /// <summary>The file that a location names.</summary>
    /// <param name="modelPath">The model. Where it is a link itself (as in a cache of downloads), the folder it leads to is the model's folder, too.</param>
    /// <param name="location">As it stands in the model.</param>
    /// <param name="tensor">Name of the tensor, for errors.</param>
    /// <exception cref="ModelFormatException">The file is outside the folder, or does not exist.</exception>
    internal static string Resolve(string modelPath, string location, string tensor)
    {
        if (location.Length == 0) throw new ModelFormatException($"tensor '{tensor}' is external and names no file");
        if (location.Contains('\0')) throw new ModelFormatException($"tensor '{tensor}' names a data file with a zero character in it");
        if (Path.IsPathRooted(location)) throw Outside(location, tensor);

        var full = Path.GetFullPath(modelPath);
        var root = RealPath(Path.GetDirectoryName(full)!);
        var path = Path.GetFullPath(Path.Combine(root, location));
        if (!IsWithin(root, path)) throw Outside(location, tensor);
        if (!File.Exists(path)) throw new ModelFormatException($"tensor '{tensor}' has its data in '{location}', which is not in the model's folder");
        var real = RealPath(path);
        if (!IsWithin(root, real) && !IsWithin(Path.GetDirectoryName(RealPath(full))!, real)) throw Outside(location, tensor);
        return real;
    }

    private static bool IsWithin(string root, string path) =>
        path.StartsWith(root.EndsWith(Path.DirectorySeparatorChar) ? root : root + Path.DirectorySeparatorChar, StringComparison.Ordinal);

    /// <summary>A full path with every symbolic link on the way followed.</summary>
    /// <exception cref="IOException">The links form a circle.</exception>
    internal static string RealPath(string path)
    {
        const int MostLinks = 40;
        var real = Path.GetPathRoot(path)!;
        var rest = new Stack<string>(Parts(path[real.Length..]));
        for (var links = 0; rest.TryPop(out var part);)
        {
            var next = Path.Combine(real, part);
            if (LinkTarget(next) is not { } target)
            {
                real = next;
                continue;
            }

            if (++links > MostLinks) throw new IOException($"'{path}' leads through more than {MostLinks} symbolic links");
            var full = Path.GetFullPath(target, real);
            real = Path.GetPathRoot(full)!;
            foreach (var each in Parts(full[real.Length..])) rest.Push(each);
        }

        return real;

        // From the last to the first, as a stack takes them.
        static IEnumerable<string> Parts(string relative) =>
            relative.Split(Path.DirectorySeparatorChar, StringSplitOptions.RemoveEmptyEntries).Reverse();

        static string? LinkTarget(string entry) =>
            (Directory.Exists(entry) ? new DirectoryInfo(entry) : (FileSystemInfo)new FileInfo(entry)).LinkTarget;
    }

    private static ModelFormatException Outside(string location, string tensor) =>
        new($"tensor '{tensor}' has its data in '{location}', outside the model's folder; a data file must be inside it");
}
