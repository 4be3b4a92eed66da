using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Transforms;

/// <summary>
/// Nodes that append to the KV cache: they read a past input of the model and write a present output of it. In a float32 graph with a float16
/// cache such a node stays float16, and only the few new rows that it is given are cast: a cast of past and present would go over the whole
/// context at every token, and past and present could not be one buffer.
/// </summary>
internal static class CacheNode
{
    private const string Attention = "GroupQueryAttention";
    private const string MaskedAttention = "MaskedAttention";

    // query, key, value, past_key, past_value, cos_cache, sin_cache, attention_bias, head_sink: those of the type of the activations.
    private static readonly int[] AttentionInputs = [0, 1, 2, 3, 4, 7, 8, 10, 11];

    /// <summary>Whether an operator is one that may append to a cache and has a float16 kernel on CPUs that computes inside in float32, or not at all.</summary>
    internal static bool IsKnown(string domain, string op) => (domain, op) is ("com.microsoft", Attention) or ("ortquant", MaskedAttention) or ("" or "ai.onnx", "Concat");

    /// <summary>Indices of the inputs that have the type of the cache.</summary>
    internal static IEnumerable<int> TypedInputs(string op, int count) => op switch
    {
        Attention => AttentionInputs.Where(index => index < count),
        MaskedAttention => [3, 4],
        _ => Enumerable.Range(0, count),
    };

    /// <summary>The outputs that have the type of the cache.</summary>
    internal static IEnumerable<T> TypedOutputs<T>(string op, IEnumerable<T> outputs) => outputs.Skip(op == MaskedAttention ? 1 : 0);

    /// <summary>The outputs that have the type of the cache.</summary>
    internal static IEnumerable<OnnxValue> TypedOutputs(OnnxNode node) => TypedOutputs(node.OpType, node.Outputs).OfType<OnnxValue>();

    /// <summary>The nodes of a model's main graph that append to a float16 cache.</summary>
    internal static List<OnnxNode> Find(OnnxModel model) =>
    [
        .. model.Graph.Nodes.Where(node =>
            IsKnown(node.Domain, node.OpType)
            && node.Inputs.Any(input => input is { IsGraphInput: true, IsInitializer: false, Type: ElementType.Float16 })
            && node.Outputs.Any(output => output is { IsGraphOutput: true, Type: ElementType.Float16 })),
    ];
}
