namespace OrtQuant.Schemes;

/// <summary>
/// What the kernels may differ from the dequantized weights, over the outputs of a whole graph: limits on the relative L2
/// error <c>|y - y_ref| / |y_ref|</c>. Past them a comparison fails, whatever the model. The loss against the original model
/// is another matter: it is reported, not limited here.
/// </summary>
/// <param name="FloatLevel">Limit at the float accuracy levels (0 and 1).</param>
/// <param name="Int8Level">Limit at the int8 accuracy level (4), whose kernels quantize activations at run time.</param>
public sealed record SchemeQuality(double FloatLevel, double Int8Level)
{
    /// <summary>The limit for one <c>accuracy_level</c> attribute value.</summary>
    /// <param name="accuracyLevel">0 or 1 (float), 4 (int8 activations).</param>
    /// <exception cref="ArgumentOutOfRangeException">Any other level.</exception>
    public double Limit(int accuracyLevel) => accuracyLevel switch
    {
        0 or 1 => FloatLevel,
        4 => Int8Level,
        _ => throw new ArgumentOutOfRangeException(
            nameof(accuracyLevel), accuracyLevel, $"accuracy level is {accuracyLevel}; it must be 0, 1 or 4"),
    };
}
