using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Quantizers;

/// <summary>A quantized weight: its grid and what the quantization costs.</summary>
/// <param name="Grid">Fitted and rounded throughout; <see cref="IWeightScheme.Encode"/> makes bytes of it.</param>
/// <param name="RelativeError">Relative L2 error of the weights, <c>|W - W'| / |W|</c>; 0 for a weight that is all zero.</param>
public sealed record QuantizedWeight(IWeightGrid Grid, double RelativeError) : IDisposable
{
    /// <summary>Hands the memory of the grid to the next weight.</summary>
    public void Dispose() => Grid.Dispose();
}
