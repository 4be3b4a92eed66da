using OrtQuant.GraphRewriter.Rewriting;

namespace OrtQuant.GraphRewriter.Planning.Allocation;

/// <summary>
/// Without running the model: a relative error costs the same in every weight of the layers, as each of them passes its result on
/// through a norm. The head's error meets the predictions directly.
/// </summary>
internal sealed class WeightErrorSensitivity : IWeightSensitivity
{
    /// <inheritdoc/>
    public string Unit => "relative error";

    /// <inheritdoc/>
    public IReadOnlyList<double> Measure(IReadOnlyList<AllocationUnit> units, IProgress<(int Done, int Total)>? progress, CancellationToken cancellation) =>
        [.. units.Select(_ => 1.0)];
}
