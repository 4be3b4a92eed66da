namespace OrtQuant.GraphRewriter.Quantizers.Gram;

/// <summary>How hard to try.</summary>
/// <param name="Damping">Added to the diagonal of the Gram matrix, as a fraction of each element; ten times more until it can be factored.</param>
/// <param name="Shrinkage">What is taken of the products of different channels for each channel a token: a sample that is small for its channels says less of how they go together.</param>
/// <param name="Starts">Shrunken ranges from which a group's scale is searched.</param>
/// <param name="Sweeps">Times to go over all groups again.</param>
/// <param name="SweepStarts">Ranges to start from again in the first sweep, beside the parameters that the group has.</param>
/// <param name="Asymmetry">How far to go to the target that the cross Gram matrix asks for: 0 to 1.</param>
internal sealed record GramOptions(double Damping = 0.01, double Shrinkage = 0.5, int Starts = 6, int Sweeps = 0, int SweepStarts = 2, double Asymmetry = 0.5)
{
    private const double MostShrinkage = 0.5;

    /// <summary>What is taken of the products of different channels, 0 to 0.5.</summary>
    /// <param name="k">Channels.</param>
    /// <param name="tokens">Tokens that the products are means of.</param>
    public double ShrinkageOf(int k, long tokens) => Math.Min(MostShrinkage, Shrinkage * k / Math.Max(1, tokens));

    /// <summary>One pass of error feedback.</summary>
    public static GramOptions Feedback { get; } = new();

    /// <summary>Feedback, then descent.</summary>
    public static GramOptions Descent { get; } = new(Sweeps: 2);
}
