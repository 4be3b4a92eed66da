namespace OrtQuant.GraphRewriter.Graph;

/// <summary>Locations of external data: names of files within the model's folder, whatever an untrusted model says.</summary>
internal static class ExternalPath
{
    /// <summary>The file that a location names.</summary>
    /// <param name="folder">The model's folder.</param>
    /// <param name="location">As it stands in the model.</param>
    /// <param name="tensor">Name of the tensor, for errors.</param>
    /// <exception cref="ModelFormatException">The file is outside the folder, or does not exist.</exception>
    internal static string Resolve(string folder, string location, string tensor)
    {
        if (location.Length == 0) throw new ModelFormatException($"tensor '{tensor}' is external and names no file");
        if (location.Contains('\0')) throw new ModelFormatException($"tensor '{tensor}' names a data file with a zero character in it");
        if (Path.IsPathRooted(location)) throw Outside(location, tensor);

        var root = RealPath(Path.GetFullPath(folder));
        var path = Path.GetFullPath(Path.Combine(root, location));
        if (!IsWithin(root, path)) throw Outside(location, tensor);
        if (!File.Exists(path)) throw new ModelFormatException($"tensor '{tensor}' has its data in '{location}', which is not in the model's folder");
        if (!IsWithin(root, RealPath(path))) throw Outside(location, tensor);
        return path;
    }

    private static bool IsWithin(string root, string path) =>
        path.StartsWith(root.EndsWith(Path.DirectorySeparatorChar) ? root : root + Path.DirectorySeparatorChar, StringComparison.Ordinal);

    /// <summary>The path with every symbolic link on the way followed.</summary>
    private static string RealPath(string path)
    {
        var real = Path.GetPathRoot(path)!;
        foreach (var part in path[real.Length..].Split(Path.DirectorySeparatorChar, StringSplitOptions.RemoveEmptyEntries))
        {
            var next = Path.Combine(real, part);
            FileSystemInfo info = Directory.Exists(next) ? new DirectoryInfo(next) : new FileInfo(next);
            var target = info.ResolveLinkTarget(returnFinalTarget: true);
            real = target is null ? next : RealPath(Path.GetFullPath(target.FullName));
        }

        return real;
    }

    private static ModelFormatException Outside(string location, string tensor) =>
        new($"tensor '{tensor}' has its data in '{location}', outside the model's folder; a data file must be inside it");
}
