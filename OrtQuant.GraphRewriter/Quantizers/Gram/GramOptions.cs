namespace OrtQuant.GraphRewriter.Quantizers.Gram;

/// <summary>How hard to try.</summary>
/// <param name="Damping">Added to the diagonal of the Gram matrix, as a fraction of each element; ten times more until it can be factored.</param>
/// <param name="Starts">Shrunken ranges from which a group's scale is searched.</param>
/// <param name="Sweeps">Times to go over all groups again.</param>
/// <param name="SweepStarts">Ranges to start from again in the first sweep, beside the parameters that the group has.</param>
/// <param name="Asymmetry">How far to go to the target that the cross Gram matrix asks for: 0 to 1.</param>
internal sealed record GramOptions(double Damping = 0.01, int Starts = 6, int Sweeps = 0, int SweepStarts = 2, double Asymmetry = 0.5)
{
    /// <summary>One pass of error feedback.</summary>
    public static GramOptions Feedback { get; } = new();

    /// <summary>Feedback, then descent.</summary>
    public static GramOptions Descent { get; } = new(Sweeps: 2);
}
