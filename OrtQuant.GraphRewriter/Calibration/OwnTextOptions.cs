namespace OrtQuant.GraphRewriter.Calibration;

/// <summary>How much text a model writes itself to be calibrated on, and how.</summary>
public sealed record OwnTextOptions
{
    /// <summary>Sequences, written side by side.</summary>
    public int Sequences { get; init; } = 32;

    /// <summary>Tokens of each, the first included.</summary>
    public int Length { get; init; } = 128;

    /// <summary>Scores are divided by it before a token is drawn.</summary>
    public double Temperature { get; init; } = 0.8;

    /// <summary>Seed of the first tokens and of the draws.</summary>
    public int Seed { get; init; } = 1;
}
