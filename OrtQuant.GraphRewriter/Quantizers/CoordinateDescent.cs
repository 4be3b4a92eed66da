using OrtQuant.GraphRewriter.Quantizers.Gram;
using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Quantizers;

/// <summary>
/// Starts as <see cref="Gptq"/>, then takes up group after group again while all others stay, and chooses its scale, zero point and codes anew
/// for the least error of the output, keeping them unless the new ones are better (block coordinate descent, as QuantEase, arXiv 2309.01885, does
/// weight by weight). Never worse than its start in <c>trace((W - W') G (W - W')^T)</c>, G damped. Without a Gram matrix it is
/// <see cref="WeightedSearch"/>.
/// </summary>
public sealed class CoordinateDescent : IQuantizer
{
    private CoordinateDescent()
    {
    }

    /// <summary>The algorithm.</summary>
    public static CoordinateDescent Instance { get; } = new();

    /// <inheritdoc/>
    public string Name => "descent";

    /// <inheritdoc/>
    public string Title => "gptq, then each group's scale and codes chosen anew while the others stay (coordinate descent)";

    /// <inheritdoc/>
    public StatisticsLevel StatisticsNeeded => StatisticsLevel.CrossGram;

    /// <inheritdoc/>
    public QuantizedWeight Quantize(IWeightSource weight, IWeightScheme scheme, SchemeParameters parameters, QuantizerContext context) =>
        GramDriver.Quantize(weight, scheme, parameters, context, GramOptions.Descent);
}
