namespace OrtQuant.GraphRewriter.Running;

/// <summary>Shapes of KV cache tensors whose sizes have names.</summary>
internal static class CacheShapes
{
    /// <summary>The shape of a past input.</summary>
    /// <param name="pair">The input and its output.</param>
    /// <param name="batch">Sequences.</param>
    /// <param name="length">Positions.</param>
    /// <param name="configuration">Gives the head size where the graph does not.</param>
    /// <param name="model">Names the model in errors.</param>
    /// <exception cref="RunningException">A size is given nowhere.</exception>
    public static long[] Of(CachePair pair, long batch, long length, ModelConfiguration configuration, string model)
    {
        var dimensions = pair.Past.Dimensions;
        var shape = new long[dimensions.Count];
        for (var axis = 0; axis < shape.Length; axis++)
        {
            shape[axis] = axis == pair.SequenceAxis ? length
                : dimensions[axis] >= 0 ? dimensions[axis]
                : pair.Past.Symbols[axis].Contains("batch", StringComparison.Ordinal) || axis == 0 ? batch
                : axis < pair.Present.Dimensions.Count && pair.Present.Dimensions[axis] >= 0 ? pair.Present.Dimensions[axis]
                : axis == shape.Length - 1 && configuration.HeadSize is { } headSize ? headSize
                : throw new RunningException(
                    $"size '{pair.Past.Symbols[axis]}' of input '{pair.Past.Name}' is given neither by {model} nor by a " +
                    "config.json (head_dim) or genai_config.json (head_size) beside it");
        }

        return shape;
    }
}
