using OrtQuant.GraphRewriter.Calibration;

namespace OrtQuant.GraphRewriter.Rewriting;

/// <summary>How a rewrite is carried out; what it does is the plan's.</summary>
public sealed record RewriteOptions
{
    /// <summary>Most threads to use; 0 for one per processor. The result does not depend on it.</summary>
    public int Threads { get; init; }

    /// <summary>Told about every weight.</summary>
    public IProgress<RewriteProgress>? Progress { get; init; }

    /// <summary>
    /// Where algorithms that use statistics of activations get them; null: nowhere, and each does what it can without. Not looked at when no weight's
    /// algorithm uses any.
    /// </summary>
    public CalibrationOptions? Calibration { get; init; }

    /// <summary>Stops the rewrite; nothing is left behind, and an output that was there before stays usable.</summary>
    public CancellationToken CancellationToken { get; init; }
}
