using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Comparison;

/// <summary>
/// Inputs for any transformer graph: seeded random ids or floats, masks of ones, an empty past; then one step with the past that a run returned.
/// </summary>
internal sealed class MadeInputs
{
    private readonly ModelSignature _signature;
    private readonly ModelConfiguration _configuration;
    private readonly string _model;
    private readonly long _vocabulary;
    private readonly int _seed;
    private readonly int _length;

    /// <summary>Prepares inputs for a graph.</summary>
    /// <param name="modelFile">The graph; read for the size of its vocabulary where nothing else gives it.</param>
    /// <param name="signature">Its inputs and outputs.</param>
    /// <param name="configuration">Sizes that the graph does not give.</param>
    /// <param name="options">Seed of ids and floats, and length of the first step.</param>
    public MadeInputs(string modelFile, ModelSignature signature, ModelConfiguration configuration, ComparisonOptions options)
    {
        _signature = signature;
        _configuration = configuration;
        _model = Path.GetFileName(modelFile);
        _seed = options.Seed;
        _length = options.MadeLength;
        _vocabulary = signature.InputIds is null ? 0
            : signature.Logits?.Dimensions[^1] is > 0 and { } size ? size
            : _configuration.VocabularySize ?? EmbeddingTable.Rows(modelFile, signature.InputIds.Name);
    }

    /// <summary>The graph takes a past and returns it.</summary>
    public bool HasNextStep => _signature.Cache.Count > 0 && _signature.InputIds is not null;

    /// <summary>Inputs of the first step; the same at every call. The caller owns them.</summary>
    public Dictionary<string, OrtValue> First()
    {
        var random = new Random(_seed);
        return _signature.Inputs.ToDictionary(input => input.Name, input => Make(input, random, past: 0, _length));
    }

    /// <summary>Inputs of one more token after a run. The caller owns them.</summary>
    /// <param name="outputs">What the run returned.</param>
    public Dictionary<string, OrtValue> Next(IReadOnlyDictionary<string, OrtValue> outputs)
    {
        var random = new Random(_seed + 1);
        var pasts = _signature.Cache.ToDictionary(pair => pair.Past.Name);
        return _signature.Inputs.ToDictionary(
            input => input.Name,
            input => pasts.TryGetValue(input.Name, out var pair)
                ? Elements.Convert(outputs[pair.Present.Name], pair.Past.Type)
                : Make(input, random, past: _length, length: 1));
    }

    private OrtValue Make(TensorSignature input, Random random, int past, int length)
    {
        var pair = _signature.Cache.FirstOrDefault(cache => cache.Past == input);
        if (pair is not null)
        {
            return Elements.Allocate(input.Type, CacheShapes.Of(pair, 1, past, _configuration, _model));
        }

        long[] shape = [.. Enumerable.Range(0, input.Dimensions.Count).Select(axis => SizeOf(input, axis, past, length))];
        var count = checked((int)shape.Aggregate(1L, (product, size) => product * size));
        if (input.IsInteger)
        {
            return Elements.Integers(input.Type, Integers(input.Name, count, (int)(shape is [.., var last] ? last : 1), random, past, length), shape);
        }

        var value = Elements.Allocate(input.Type, shape);
        if (input.IsFloat && count > 0)
        {
            Elements.FromSingle(Floats(input.Name, count, random), input.Type, value.GetTensorMutableRawData());
        }

        return value;
    }

    private long[] Integers(string name, int count, int rowLength, Random random, int past, int length)
    {
        var values = new long[count];
        for (var i = 0; i < count; i++)
        {
            values[i] = name switch
            {
                _ when name.EndsWith("input_ids", StringComparison.Ordinal) => random.NextInt64(_vocabulary),
                _ when name.Contains("mask", StringComparison.Ordinal) => 1,
                _ when name.Contains("position", StringComparison.Ordinal) => past + (i % rowLength),
                _ when name.Contains("total", StringComparison.Ordinal) => past + length,
                _ => 0,
            };
        }

        return values;
    }

    private static float[] Floats(string name, int count, Random random)
    {
        var values = new float[count];
        for (var i = 0; i < count; i++)
        {
            // Box-Muller: the normal distribution, as hidden states roughly have.
            values[i] = name.Contains("mask", StringComparison.Ordinal)
                ? 1
                : (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
        }

        return values;
    }

    // Sizes have numbers, or names such as "batch_size", "past_sequence_length + sequence_length", "total_sequence_length".
    private long SizeOf(TensorSignature input, int axis, int past, int length)
    {
        if (input.Dimensions[axis] >= 0)
        {
            return input.Dimensions[axis];
        }

        var symbol = input.Symbols[axis];
        if (symbol.Length == 0)
        {
            return axis == 0 ? 1 : length;
        }

        return symbol.Split('+', StringSplitOptions.TrimEntries).Sum(part =>
            part.Contains("batch", StringComparison.Ordinal) ? 1
            : part.StartsWith("encoder", StringComparison.Ordinal) ? _length
            : part.StartsWith("past", StringComparison.Ordinal) ? past
            : part.Contains("total", StringComparison.Ordinal) ? past + length
            : length);
    }
}
