using OrtQuant.GraphRewriter.Quantizers;

namespace OrtQuant.GraphRewriter.Calibration;

/// <summary>Where a rewrite takes the statistics of activations from. Of the members the first that is given counts.</summary>
public sealed record CalibrationOptions
{
    /// <summary>Statistics gathered before: the model is not run.</summary>
    public StatisticsFile? Statistics { get; init; }

    /// <summary>Token ids to run the model on, one array a sequence.</summary>
    public IReadOnlyList<long[]>? Sequences { get; init; }

    /// <summary>How the model's own text is made, where neither statistics nor sequences are given.</summary>
    public OwnTextOptions OwnText { get; init; } = new();

    /// <summary>What the sequences are, for reports: a file name, for example.</summary>
    public string Source { get; init; } = "given tokens";

    /// <summary>A file to write the statistics to, for <see cref="Statistics"/> of another rewrite; null for none.</summary>
    public string? SaveTo { get; init; }

    /// <summary>
    /// Whether every weight sees the inputs that those quantized before it give, which takes a second model and more time; otherwise all see those of the
    /// original model. Null: where an algorithm uses products of inputs.
    /// </summary>
    public bool? Sequential { get; init; }

    /// <summary>
    /// Whether algorithms that can aim at undoing the errors of the layers before are given what that takes (<see cref="IActivationStatistics.CrossGram"/>): a
    /// run of the original beside the quantized model, twice the time.
    /// </summary>
    public bool CrossProducts { get; init; } = true;

    /// <summary>
    /// Whether a model that cannot be calibrated is an error. Otherwise its weights are rounded to nearest, and
    /// <see cref="CalibrationReport.Fallback"/> says why.
    /// </summary>
    public bool Required { get; init; } = true;
}
