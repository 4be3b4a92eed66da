namespace OrtQuant.GraphRewriter.Cli;

/// <summary>Where a rewritten model goes: a file for a file, a folder for a folder.</summary>
/// <param name="File">Full path of the graph to write.</param>
/// <param name="Folder">Full path of the folder to fill, where the input was a folder.</param>
internal sealed record OutputPath(string File, string? Folder)
{
    /// <summary>Resolves <c>-o OUT</c> for a model.</summary>
    /// <param name="path">What the user typed.</param>
    /// <param name="model">The input.</param>
    /// <exception cref="UsageException">A folder where a file is needed or the other way round, or the input itself.</exception>
    public static OutputPath Resolve(string path, ModelPath model)
    {
        var full = Path.GetFullPath(path);
        if (model.Folder is null)
        {
            if (Directory.Exists(full)) throw new UsageException($"the input is a file and the output {path} is a folder; give the name of a file");
            if (full == model.File) throw new UsageException($"the output is the input itself ({path}); give another name");
            return new OutputPath(full, null);
        }

        if (System.IO.File.Exists(full)) throw new UsageException($"the input is a folder and the output {path} is a file; give the name of a folder");
        var trimmed = Path.TrimEndingDirectorySeparator(full);
        if (trimmed == Path.TrimEndingDirectorySeparator(model.Folder)) throw new UsageException($"the output is the input itself ({path}); give another name");
        return new OutputPath(Path.Combine(trimmed, Path.GetFileName(model.File)), trimmed);
    }
}
