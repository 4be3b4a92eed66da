using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Onnx;
using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Running;

/// <summary>An input or output of a graph.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">Element type.</param>
/// <param name="Dimensions">Sizes; -1 where the size has a name or none.</param>
/// <param name="Symbols">Names of the sizes, empty where a size is a number or unknown.</param>
public sealed record TensorSignature(string Name, TensorElementType Type, IReadOnlyList<long> Dimensions, IReadOnlyList<string> Symbols)
{
    /// <summary>Whether elements are integers that may be token ids, masks or positions.</summary>
    public bool IsInteger => Type is TensorElementType.Int64 or TensorElementType.Int32;

    /// <summary>Whether elements are floating-point numbers.</summary>
    public bool IsFloat => Type is TensorElementType.Float or TensorElementType.Float16 or TensorElementType.BFloat16 or TensorElementType.Double;

    internal static TensorSignature Of(string name, NodeMetadata metadata) => new(
        name, metadata.ElementDataType, [.. metadata.Dimensions.Select(size => (long)size)], metadata.SymbolicDimensions);

    // ONNX and ONNX Runtime number element types alike.
    internal static TensorSignature Of(ValueInfoProto value)
    {
        var dimensions = value.Type?.TensorType?.Shape?.Dim ?? [];
        return new TensorSignature(
            value.Name,
            (TensorElementType)(value.Type?.TensorType?.ElemType ?? 0),
            [.. dimensions.Select(size => size.ValueCase == TensorShapeProto.Types.Dimension.ValueOneofCase.DimValue ? size.DimValue : -1)],
            [.. dimensions.Select(size => size.DimParam)]);
    }
}

/// <summary>A past input and the present output that continues it.</summary>
/// <param name="Past">The input.</param>
/// <param name="Present">The output.</param>
/// <param name="SequenceAxis">The axis that grows.</param>
public sealed record CachePair(TensorSignature Past, TensorSignature Present, int SequenceAxis);

/// <summary>
/// What the inputs and outputs of a graph mean, found by the names that exporters use (Optimum, torch, onnxruntime-genai's builder).
/// </summary>
public sealed class ModelSignature
{
    private ModelSignature(IReadOnlyList<TensorSignature> inputs, IReadOnlyList<TensorSignature> outputs)
    {
        Inputs = inputs;
        Outputs = outputs;
        InputIds = Find(inputs, "input_ids", "decoder_input_ids");
        AttentionMask = Find(inputs, "attention_mask", "decoder_attention_mask");
        PositionIds = Find(inputs, "position_ids");
        Logits = Find(outputs, "logits") ?? (InputIds is not null && outputs is [var only] && LooksLikeLogits(only) ? only : null);
        Cache = [.. inputs.Select(PairOf).OfType<CachePair>()];
    }

    /// <summary>All inputs.</summary>
    public IReadOnlyList<TensorSignature> Inputs { get; }

    /// <summary>All outputs.</summary>
    public IReadOnlyList<TensorSignature> Outputs { get; }

    /// <summary>Token ids [batch, sequence].</summary>
    public TensorSignature? InputIds { get; }

    /// <summary>Ones for every position of past and present [batch, past + sequence].</summary>
    public TensorSignature? AttentionMask { get; }

    /// <summary>Positions [batch, sequence].</summary>
    public TensorSignature? PositionIds { get; }

    /// <summary>Scores of the next token [batch, sequence, vocabulary].</summary>
    public TensorSignature? Logits { get; }

    /// <summary>The KV cache, in the order of the inputs.</summary>
    public IReadOnlyList<CachePair> Cache { get; }

    /// <summary>Reads the signature of an open session.</summary>
    public static ModelSignature Of(InferenceSession session) => new(
        [.. session.InputNames.Select(name => TensorSignature.Of(name, session.InputMetadata[name]))],
        [.. session.OutputNames.Select(name => TensorSignature.Of(name, session.OutputMetadata[name]))]);

    /// <summary>Reads the signature of a graph that is not open.</summary>
    internal static ModelSignature Of(OnnxModel model)
    {
        // An initializer that is listed as an input has a value already.
        var graph = model.Graph;
        return new(
            [.. graph.Proto.Input.Where(input => graph.InitializerOf(input.Name) is null).Select(TensorSignature.Of)],
            [.. graph.Proto.Output.Select(TensorSignature.Of)]);
    }

    /// <summary>Checks that token ids, and what follows from them, are all that the graph needs to run.</summary>
    /// <param name="model">Names the model in the error.</param>
    /// <exception cref="RunningException">It needs something else.</exception>
    public void RequireTokens(string model)
    {
        if (InputIds is not { IsInteger: true, Dimensions.Count: 2 })
        {
            throw new RunningException($"{model} takes no token ids: no integer input 'input_ids' of shape [batch, sequence] among {Names(Inputs)}");
        }

        var known = new[] { InputIds, AttentionMask, PositionIds }.Concat(Cache.Select(pair => pair.Past)).ToHashSet();
        if (Inputs.FirstOrDefault(input => !known.Contains(input)) is { } other)
        {
            throw new RunningException($"{model} takes more than token ids: it needs input '{other.Name}'");
        }
    }

    /// <summary>Checks that the graph is a causal language model: token ids in, scores of the next token out, and nothing unknown besides.</summary>
    /// <param name="model">Names the model in the error.</param>
    /// <exception cref="RunningException">It is none, and why.</exception>
    public void RequireLanguageModel(string model)
    {
        if (InputIds is not { IsInteger: true, Dimensions.Count: 2 })
        {
            throw new RunningException($"{model} is no language model: no integer input 'input_ids' of shape [batch, sequence] among {Names(Inputs)}");
        }

        if (Logits is not { IsFloat: true, Dimensions.Count: 3 })
        {
            throw new RunningException($"{model} is no language model: no output 'logits' of shape [batch, sequence, vocabulary] among {Names(Outputs)}");
        }

        var known = new[] { InputIds, AttentionMask, PositionIds }.Concat(Cache.Select(pair => pair.Past)).ToHashSet();
        if (Inputs.FirstOrDefault(input => !known.Contains(input)) is { } other)
        {
            throw new RunningException($"{model} is no decoder-only language model: it needs input '{other.Name}'");
        }
    }

    // torch names an output after the module it comes from, e.g. "linear".
    private static bool LooksLikeLogits(TensorSignature output) =>
        output is { IsFloat: true, Dimensions.Count: 3 } && !output.Name.Contains("hidden", StringComparison.Ordinal);

    private CachePair? PairOf(TensorSignature input)
    {
        var suffix = input.Name.StartsWith("past_key_values", StringComparison.Ordinal) ? input.Name["past_key_values".Length..]
            : input.Name.StartsWith("past", StringComparison.Ordinal) ? input.Name["past".Length..]
            : null;
        if (suffix is null || (Find(Outputs, "present" + suffix) ?? Find(Outputs, "present_key_values" + suffix)) is not { } present)
        {
            return null;
        }

        return new CachePair(input, present, SequenceAxisOf(input));
    }

    // The axis whose size is named after a length; else the last but one, as in [batch, heads, sequence, head size].
    private static int SequenceAxisOf(TensorSignature past)
    {
        for (var axis = 0; axis < past.Symbols.Count; axis++)
        {
            var symbol = past.Symbols[axis];
            if (symbol.Contains("past", StringComparison.Ordinal) || symbol.Contains("sequence", StringComparison.Ordinal) ||
                symbol.Contains("length", StringComparison.Ordinal))
            {
                return axis;
            }
        }

        return past.Dimensions.Count - 2;
    }

    private static TensorSignature? Find(IReadOnlyList<TensorSignature> list, params string[] names) =>
        names.Select(name => list.FirstOrDefault(tensor => tensor.Name == name)).FirstOrDefault(tensor => tensor is not null);

    private static string Names(IReadOnlyList<TensorSignature> list) =>
        string.Join(", ", list.Take(8).Select(tensor => $"'{tensor.Name}'")) + (list.Count > 8 ? ", ..." : "");
}
