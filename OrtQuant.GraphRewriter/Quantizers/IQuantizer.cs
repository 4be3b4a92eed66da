using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Quantizers;

/// <summary>
/// An algorithm that chooses the parameters and codes of a weight. It drives the grid of any scheme and knows nothing of bytes.
/// Implementations hold no state of a weight and give the same result for any number of threads.
/// </summary>
public interface IQuantizer
{
    /// <summary>The one name of the algorithm: <c>--algorithm</c> and JSON (for example <c>rtn</c>).</summary>
    string Name { get; }

    /// <summary>A few words for lists.</summary>
    string Title { get; }

    /// <summary>
    /// What it makes use of in <see cref="QuantizerContext.Statistics"/>. Given less, or none, it falls back to what its own summary says.
    /// </summary>
    StatisticsLevel StatisticsNeeded { get; }

    /// <summary>Quantizes one weight.</summary>
    /// <param name="weight">The weight; its name is <see cref="QuantizerContext.WeightName"/>.</param>
    /// <param name="scheme">The scheme whose grid is used.</param>
    /// <param name="parameters">Parameters of the scheme.</param>
    /// <param name="context">Threads, cancellation, statistics.</param>
    /// <exception cref="OrtQuantException">A weight is NaN or infinite, or too large for the scheme; the message names the weight.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    QuantizedWeight Quantize(IWeightSource weight, IWeightScheme scheme, SchemeParameters parameters, QuantizerContext context);
}
