using System.Text.Json;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.Tests.Support;

/// <summary>Runs the <c>ortquant</c> tool that was built with the tests, as a process of its own.</summary>
internal static class Tool
{
    /// <summary>Path of the tool's assembly.</summary>
    public static string Assembly { get; } = typeof(LanguageModel).Assembly.Location;

    /// <summary>Runs the tool to its end.</summary>
    public static ProcessResult Run(params string[] arguments) => ProcessRunner.Run("dotnet", [Assembly, .. arguments]);

    /// <summary>Parses standard output, which must be one JSON object and nothing else.</summary>
    public static JsonElement Json(this ProcessResult result)
    {
        using var document = JsonDocument.Parse(result.Output);
        Assert.AreEqual(JsonValueKind.Object, document.RootElement.ValueKind);
        return document.RootElement.Clone();
    }

    /// <summary>Fails unless the tool ended with this code, one line of error and nothing on standard output.</summary>
    public static void ShouldFail(this ProcessResult result, int exitCode, params string[] words)
    {
        Assert.AreEqual(exitCode, result.ExitCode, result.Error);
        Assert.AreEqual("", result.Output);
        var lines = result.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        var error = lines.Single(line => line.StartsWith("error: ", StringComparison.Ordinal));
        foreach (var word in words)
        {
            Assert.Contains(word, error);
        }
    }
}
