namespace OrtQuant.Schemes;

/// <summary>Logical shape of a weight: the op computes <c>Y[..., N] = X[..., K] · W^T</c> with <c>W</c> of shape <c>[N, K]</c>.</summary>
/// <param name="N">Outputs, at least 1.</param>
/// <param name="K">Inputs, the dimension that is summed over and that groups run along, at least 1.</param>
public readonly record struct WeightShape(long N, long K)
{
    /// <summary>Number of weights, <c>N * K</c>.</summary>
    /// <exception cref="OverflowException">The product does not fit 64 bits.</exception>
    public long Count => checked(N * K);

    /// <summary>The shape as it is written in messages, for example <c>[576, 1536]</c> for N = 576, K = 1536.</summary>
    public override string ToString() => $"[{N}, {K}]";
}
