using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;

namespace OrtQuant.GraphRewriter.Rewriting;

/// <summary>
/// What stands beside a model and goes along with it: tokenizer, configuration, and for onnxruntime-genai a genai_config.json that names the
/// new graph and the library. Each file appears whole; the graph, which is written last, makes the folder a model.
/// </summary>
internal static class ModelFolder
{
    private const string GenAiConfiguration = "genai_config.json";

    private static readonly string[] ModelSuffixes = [".onnx", ".data", ".onnx_data", ".bin", ".weight", ".safetensors", ".tmp", ".part"];
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    /// <summary>Copies the files of a model's folder, models and their data aside.</summary>
    /// <param name="source">The folder of the original model.</param>
    /// <param name="target">The folder of the rewritten one.</param>
    /// <param name="graph">File name of the rewritten graph.</param>
    /// <param name="plan">What the rewrite does.</param>
    /// <param name="externalFiles">Full paths of the original's data files, which are not copied.</param>
    /// <param name="cancellation">Stops the copy.</param>
    internal static void Carry(
        string source, string target, string graph, QuantizationPlan plan, IReadOnlyCollection<string> externalFiles, CancellationToken cancellation)
    {
        Directory.CreateDirectory(target);
        var library = plan is { Emit: EmittedOps.OrtQuant, Weights.Count: > 0 } ? FindLibrary() : null;
        foreach (var file in Directory.EnumerateFiles(source).Order(StringComparer.Ordinal))
        {
            cancellation.ThrowIfCancellationRequested();
            var name = Path.GetFileName(file);
            if (IsModel(name) || externalFiles.Contains(ExternalPath.RealPath(file))) continue;
            var content = File.ReadAllBytes(file);
            if (name == GenAiConfiguration) content = Configure(content, file, graph, plan, library) ?? content;
            OutputFile.Write(Path.Combine(target, name), content);
        }

        // onnxruntime-genai looks for a custom-op library in the folder of the model.
        if (library is not null && File.Exists(Path.Combine(source, GenAiConfiguration)))
        {
            OutputFile.Write(Path.Combine(target, Path.GetFileName(library)), File.ReadAllBytes(library));
        }
    }

    private static bool IsModel(string name) =>
        name.StartsWith('.') || ModelSuffixes.Any(suffix => name.EndsWith(suffix, StringComparison.OrdinalIgnoreCase));

    /// <summary>genai_config.json for the new graph; null where it has no decoder.</summary>
    private static byte[]? Configure(byte[] content, string file, string graph, QuantizationPlan plan, string? library)
    {
        JsonNode? root;
        try
        {
            root = JsonNode.Parse(content);
        }
        catch (JsonException exception)
        {
            throw new ModelFormatException($"{file} is not valid JSON: {exception.Message}", exception);
        }

        if (root?["model"]?["decoder"] is not JsonObject decoder) return null;
        decoder["filename"] = graph;
        if (decoder["session_options"] is not JsonObject session) decoder["session_options"] = session = [];

        // A CUDA provider in the options makes genai refuse a machine without one.
        if (plan.Target == RewriteTarget.Cpu) session["provider_options"] = new JsonArray();
        if (library is not null) session["custom_ops_library"] = Path.GetFileName(library);
        return JsonSerializer.SerializeToUtf8Bytes(root, Indented);
    }

    /// <summary>The native library; null where only the rewriter is installed.</summary>
    private static string? FindLibrary()
    {
        try
        {
            return OrtQuantRuntime.LibraryPath;
        }
        catch (OrtQuantException)
        {
            return null;
        }
    }
}
