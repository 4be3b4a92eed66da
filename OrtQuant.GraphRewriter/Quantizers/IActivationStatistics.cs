namespace OrtQuant.GraphRewriter.Quantizers;

/// <summary>
/// What is known about the inputs X <c>[tokens, K]</c> that meet one weight. Members that were not gathered are empty. Means are over the
/// tokens seen, so that weights with different numbers of tokens compare.
/// </summary>
public interface IActivationStatistics
{
    /// <summary>Number of rows of X seen.</summary>
    long Tokens { get; }

    /// <summary>Mean of x_k squared, <c>[K]</c>: the diagonal of <see cref="Gram"/>.</summary>
    ReadOnlyMemory<float> SecondMoments { get; }

    /// <summary>Mean of |x_k|, <c>[K]</c>.</summary>
    ReadOnlyMemory<float> MeanAbs { get; }

    /// <summary>Largest |x_k|, <c>[K]</c>.</summary>
    ReadOnlyMemory<float> AbsMax { get; }

    /// <summary>
    /// Mean of x x^T, <c>[K, K]</c> row-major and symmetric, of the inputs that the quantized model will give; empty where only moments were
    /// gathered.
    /// </summary>
    ReadOnlyMemory<float> Gram { get; }

    /// <summary>
    /// Mean of x_ref x^T, <c>[K, K]</c> row-major: the original model's inputs (rows) against the quantized model's (columns); empty where the
    /// two are the same or it was not gathered.
    /// </summary>
    ReadOnlyMemory<float> CrossGram { get; }
}

/// <summary>How much of <see cref="IActivationStatistics"/> an algorithm makes use of; each level includes those before it.</summary>
public enum StatisticsLevel
{
    /// <summary>Nothing: the weight alone.</summary>
    None,

    /// <summary>Numbers for each input channel: <see cref="IActivationStatistics.SecondMoments"/>, means and maxima of magnitudes.</summary>
    Moments,

    /// <summary><see cref="IActivationStatistics.Gram"/>.</summary>
    Gram,

    /// <summary><see cref="IActivationStatistics.CrossGram"/>.</summary>
    CrossGram,
}
