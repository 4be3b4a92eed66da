using OrtQuant.GraphRewriter.Quantizers.Gram;
using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Quantizers;

/// <summary>
/// GPTQ (arXiv 2210.17323): positions of a row are rounded one after the other, and what each leaves in the output is cancelled by those that are still
/// free. Groups are taken in the order of their inputs' size but stay whole, so that the layout is that of any other algorithm; the scale and zero
/// point of a group are searched, when it is reached, for the error that is left once all later positions compensate. With
/// <see cref="IActivationStatistics.CrossGram"/> it aims halfway at what undoes the errors of the layers before (GPTAQ, arXiv 2504.02692). Without a Gram
/// matrix it is <see cref="WeightedSearch"/>.
/// </summary>
public sealed class Gptq : IQuantizer
{
    private Gptq()
    {
    }

    /// <summary>The algorithm.</summary>
    public static Gptq Instance { get; } = new();

    /// <inheritdoc/>
    public string Name => "gptq";

    /// <inheritdoc/>
    public string Title => "rounding with error feedback through the Gram matrix of the inputs (GPTQ), scales searched on the way";

    /// <inheritdoc/>
    public StatisticsLevel StatisticsNeeded => StatisticsLevel.CrossGram;

    /// <inheritdoc/>
    public QuantizedWeight Quantize(IWeightSource weight, IWeightScheme scheme, SchemeParameters parameters, QuantizerContext context) =>
        GramDriver.Quantize(weight, scheme, parameters, context, GramOptions.Feedback);
}
