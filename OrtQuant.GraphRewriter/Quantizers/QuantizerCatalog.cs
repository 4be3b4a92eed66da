namespace OrtQuant.GraphRewriter.Quantizers;

/// <summary>The algorithms that exist, in the order in which they are listed to users. A new algorithm is one line here.</summary>
public static class QuantizerCatalog
{
    /// <summary>Every algorithm, in order.</summary>
    public static IReadOnlyList<IQuantizer> All { get; } =
    [
        RoundToNearest.Instance,
        WeightedSearch.Instance,
        HalfQuadratic.Instance,
        Gptq.Instance,
        CoordinateDescent.Instance,
    ];

    /// <summary>The algorithm of that name.</summary>
    /// <exception cref="OrtQuantException">There is none; the message lists the names.</exception>
    public static IQuantizer Get(string name) =>
        All.FirstOrDefault(quantizer => quantizer.Name == name)
        ?? throw new OrtQuantException($"algorithm is '{name}'; it must be one of {string.Join(", ", All.Select(quantizer => quantizer.Name))}");
}
