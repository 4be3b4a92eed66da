using OrtQuant.GraphRewriter.Quantizers;

namespace OrtQuant.GraphRewriter.Calibration;

/// <summary>Statistics of the inputs that meet one weight, in memory.</summary>
public sealed record ActivationStatistics : IActivationStatistics
{
    /// <inheritdoc/>
    public required long Tokens { get; init; }

    /// <inheritdoc/>
    public required ReadOnlyMemory<float> SecondMoments { get; init; }

    /// <inheritdoc/>
    public required ReadOnlyMemory<float> MeanAbs { get; init; }

    /// <inheritdoc/>
    public required ReadOnlyMemory<float> AbsMax { get; init; }

    /// <inheritdoc/>
    public ReadOnlyMemory<float> Gram { get; init; }

    /// <inheritdoc/>
    public ReadOnlyMemory<float> CrossGram { get; init; }
}
