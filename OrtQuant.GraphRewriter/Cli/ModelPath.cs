using System.Text.Json.Nodes;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>A MODEL argument, resolved: an .onnx file, given itself or as the folder that holds it.</summary>
/// <param name="File">Full path of the graph.</param>
/// <param name="Folder">Full path of the folder, where a folder was given; the output then is a folder, too.</param>
internal sealed record ModelPath(string File, string? Folder)
{
    /// <summary>Resolves what the user typed.</summary>
    /// <param name="path">An .onnx file, or a folder with exactly one, or with a genai_config.json that names one.</param>
    /// <exception cref="UsageException">Nothing there, no model in the folder, or several without saying which.</exception>
    public static ModelPath Resolve(string path)
    {
        if (System.IO.File.Exists(path))
        {
            return new ModelPath(Path.GetFullPath(path), null);
        }

        if (!Directory.Exists(path))
        {
            throw new UsageException($"no such file or folder: {path}");
        }

        var folder = Path.GetFullPath(path);
        var models = Directory.GetFiles(folder, "*.onnx").Order(StringComparer.Ordinal).ToArray();
        return models switch
        {
            [var only] => new ModelPath(only, folder),
            [] => throw new UsageException($"no .onnx file in folder {path}"),
            _ => NamedByConfiguration(folder) is { } named && models.Contains(named)
                ? new ModelPath(named, folder)
                : throw new UsageException(
                    $"{models.Length} models in folder {path}: {string.Join(", ", models.Select(Path.GetFileName))}; give one of these files instead"),
        };
    }

    private static string? NamedByConfiguration(string folder)
    {
        var configuration = Path.Combine(folder, "genai_config.json");
        if (!System.IO.File.Exists(configuration))
        {
            return null;
        }

        var name = JsonNode.Parse(System.IO.File.ReadAllText(configuration))?["model"]?["decoder"]?["filename"]?.GetValue<string>();
        return name is null ? null : Path.Combine(folder, name);
    }
}
