namespace OrtQuant.Tests.Support;

/// <summary>Where tests find the repository's files and the optional large test data.</summary>
internal static class TestFiles
{
    /// <summary>The repository's top folder: the nearest above the test assembly that holds <c>OrtQuant.sln</c>.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>The bundled model, a folder with <c>model.onnx</c> and its tokenizer.</summary>
    public static string Stories260K => Path.Combine(Root, "models", "stories260k");

    /// <summary>
    /// A file or folder of the optional large test data: in the folder that <c>ORTQUANT_TEST_DATA</c> names, by default
    /// <c>../shared</c> next to the repository. The test is skipped, with the reason, when it is not there.
    /// </summary>
    /// <param name="relativePath">Path inside the data folder, with forward slashes.</param>
    public static string Optional(string relativePath)
    {
        if (FindOptional(relativePath) is { } path) return path;
        Assert.Inconclusive($"Optional test data '{relativePath}' is not in '{DataFolder}' (ORTQUANT_TEST_DATA).");
        return "";
    }

    /// <summary>The same, or null when it is not there.</summary>
    public static string? FindOptional(string relativePath)
    {
        var path = Path.GetFullPath(Path.Combine(DataFolder, relativePath));
        return Path.Exists(path) ? path : null;
    }

    private static string DataFolder => Environment.GetEnvironmentVariable("ORTQUANT_TEST_DATA") is { Length: > 0 } named
        ? named
        : Path.Combine(Root, "..", "shared");

    private static string FindRoot()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "OrtQuant.sln")))
            {
                return folder.FullName;
            }
        }

        throw new DirectoryNotFoundException($"No OrtQuant.sln in '{AppContext.BaseDirectory}' or above it.");
    }
}
