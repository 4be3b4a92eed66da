using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Comparison;

/// <summary>What to compare on, and how to open both models.</summary>
public sealed record ComparisonOptions
{
    /// <summary>Token sequences for language models; null: inputs are made, and every output is compared.</summary>
    public IReadOnlyList<long[]>? Sequences { get; init; }

    /// <summary>How to open the reference.</summary>
    public SessionSettings Reference { get; init; } = new();

    /// <summary>How to open the model that is checked.</summary>
    public SessionSettings Model { get; init; } = new();

    /// <summary>The graph whose config files tell sizes that the graphs do not (the width of a head); null: the reference.</summary>
    public string? ConfigurationOf { get; init; }

    /// <summary>Seed of made inputs.</summary>
    public int Seed { get; init; } = 1;

    /// <summary>Length of made sequences.</summary>
    public int MadeLength { get; init; } = 32;
}

/// <summary>How far one output is from the reference.</summary>
/// <param name="Name">The output.</param>
/// <param name="Step"><c>first</c>: the run with an empty past; <c>next</c>: the run with the past that the first one returned.</param>
/// <param name="MaxAbs">Largest absolute difference.</param>
/// <param name="RelativeL2">|model - reference| / |reference|.</param>
/// <param name="Cosine">Cosine of the angle between both.</param>
public sealed record OutputDifference(string Name, string Step, double MaxAbs, double RelativeL2, double Cosine);

/// <summary>Perplexity of both models on the same text.</summary>
public sealed record PerplexityPair(double Reference, double Rewritten);

/// <summary>How far a model is from its reference. The first three are those of the worst output.</summary>
/// <param name="MaxAbs">Largest absolute difference.</param>
/// <param name="RelativeL2">|model - reference| / |reference|.</param>
/// <param name="Cosine">Cosine of the angle between both.</param>
/// <param name="KlMean">Mean KL(reference || model) of the next-token distributions in nats; null without logits.</param>
/// <param name="KlMax">Largest of them.</param>
/// <param name="Top1Agreement">Share of positions with the same most likely id.</param>
/// <param name="Tokens">Positions compared.</param>
/// <param name="Perplexity">On the sequences given; null for made inputs.</param>
/// <param name="Outputs">Every output and step.</param>
public sealed record ComparisonResult(
    double MaxAbs, double RelativeL2, double Cosine, double? KlMean, double? KlMax, double? Top1Agreement, long Tokens,
    PerplexityPair? Perplexity, IReadOnlyList<OutputDifference> Outputs)
{
    /// <summary>All figures are numbers: neither model returned NaN or an infinity.</summary>
    public bool IsFinite =>
        double.IsFinite(MaxAbs) && double.IsFinite(RelativeL2) && double.IsFinite(Cosine) &&
        double.IsFinite(KlMean ?? 0) && double.IsFinite(KlMax ?? 0);

    internal static ComparisonResult Of(IReadOnlyList<OutputDifference> outputs, DistributionMeter? distributions, PerplexityPair? perplexity) => new(
        Worst(outputs, output => output.MaxAbs),
        Worst(outputs, output => output.RelativeL2),
        -Worst(outputs, output => -output.Cosine),
        distributions?.DivergenceMean,
        distributions?.DivergenceMax,
        distributions?.Agreement,
        distributions?.Tokens ?? 0,
        perplexity,
        outputs);

    // Math.Max passes NaN on.
    private static double Worst(IReadOnlyList<OutputDifference> outputs, Func<OutputDifference, double> figure) =>
        outputs.Select(figure).Aggregate(Math.Max);
}
