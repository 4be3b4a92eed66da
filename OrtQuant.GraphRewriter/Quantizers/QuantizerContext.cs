namespace OrtQuant.GraphRewriter.Quantizers;

/// <summary>What a quantizer is given beside the weight.</summary>
/// <param name="WeightName">Name of the weight in the graph, for messages.</param>
public sealed record QuantizerContext(string WeightName)
{
    /// <summary>Most threads to use; 0 for one per processor.</summary>
    public int Threads { get; init; }

    /// <summary>Stops the work between blocks of rows.</summary>
    public CancellationToken CancellationToken { get; init; }

    /// <summary>What is known about the inputs of the weight, if anything.</summary>
    public IActivationStatistics? Statistics { get; init; }

    internal int ThreadCount => Threads > 0 ? Threads : Environment.ProcessorCount;
}
