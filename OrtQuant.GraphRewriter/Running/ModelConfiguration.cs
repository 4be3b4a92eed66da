using System.Text.Json;
using System.Text.Json.Nodes;

namespace OrtQuant.GraphRewriter.Running;

/// <summary>What the files beside a graph say about it: <c>genai_config.json</c>, <c>config.json</c>, <c>generation_config.json</c>. Everything is optional.</summary>
/// <param name="HeadSize">Width of an attention head: the last dimension of the KV cache.</param>
/// <param name="VocabularySize">Number of token ids.</param>
/// <param name="ContextLength">Most positions of a sequence.</param>
/// <param name="EndOfSequence">Ids that end a generation.</param>
/// <param name="ShareCacheBuffer">Past and present may be one buffer of full length, as GroupQueryAttention allows.</param>
public sealed record ModelConfiguration(
    long? HeadSize, long? VocabularySize, long? ContextLength, IReadOnlyList<long> EndOfSequence, bool ShareCacheBuffer)
{
    /// <summary>A graph without any such file.</summary>
    public static ModelConfiguration Empty { get; } = new(null, null, null, [], false);

    /// <summary>Reads the files in the folder of a graph.</summary>
    /// <param name="modelFile">Path of the .onnx file.</param>
    /// <exception cref="RunningException">A file is there but is no JSON object.</exception>
    public static ModelConfiguration Read(string modelFile)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(modelFile))!;
        var genai = ReadObject(Path.Combine(folder, "genai_config.json"));
        var config = ReadObject(Path.Combine(folder, "config.json"));
        var generation = ReadObject(Path.Combine(folder, "generation_config.json"));
        var model = genai?["model"];
        return new ModelConfiguration(
            Integer(model?["decoder"]?["head_size"]) ?? HeadSizeOf(config),
            Integer(model?["vocab_size"]) ?? Integer(config?["vocab_size"]),
            Integer(model?["context_length"]) ?? Integer(config?["max_position_embeddings"]),
            FirstNonEmpty(Integers(model?["eos_token_id"]), Integers(generation?["eos_token_id"]), Integers(config?["eos_token_id"])),
            genai?["search"]?["past_present_share_buffer"] is JsonValue share && share.TryGetValue(out bool shared) && shared);
    }

    /// <summary>Reads a JSON object from a file.</summary>
    /// <returns>Null when the file is not there.</returns>
    /// <exception cref="RunningException">The file is no JSON object.</exception>
    internal static JsonObject? ReadObject(string path)
    {
        if (!File.Exists(path))
        {
            return null;
        }

        try
        {
            return JsonNode.Parse(File.ReadAllBytes(path)) as JsonObject ?? throw new RunningException($"{path} holds no JSON object");
        }
        catch (JsonException exception)
        {
            throw new RunningException($"{path} is not valid JSON: {exception.Message}", exception);
        }
    }

    private static long? HeadSizeOf(JsonObject? config) =>
        Integer(config?["head_dim"]) ??
        (Integer(config?["hidden_size"]) is { } hidden && Integer(config?["num_attention_heads"]) is > 0 and { } heads ? hidden / heads : null);

    private static long? Integer(JsonNode? node) =>
        node is JsonValue value && value.TryGetValue(out long number) ? number : null;

    private static IReadOnlyList<long> Integers(JsonNode? node) => node switch
    {
        JsonArray array => [.. array.Select(Integer).OfType<long>()],
        _ => Integer(node) is { } one ? [one] : [],
    };

    private static IReadOnlyList<long> FirstNonEmpty(params IReadOnlyList<long>[] candidates) =>
        candidates.FirstOrDefault(list => list.Count > 0) ?? [];
}
