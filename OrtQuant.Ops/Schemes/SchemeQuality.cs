namespace OrtQuant.Schemes;

/// <summary>
/// What a kernel may differ from the dequantized weights, over the output of one op: limits on the relative L2
/// error <c>|y - y_ref| / |y_ref|</c>. Past them a comparison fails, whatever the model. The loss against the original model
/// is another matter: it is reported, not limited here.
/// </summary>
/// <param name="FloatLevel">Limit at the float accuracy levels (0 and 1).</param>
/// <param name="Int8Level">Limit at the int8 accuracy level (4), where reference and kernel round activations alike but for those next to a rounding border.</param>
/// <param name="Int8LevelOfExactBody">The same where the reference does not round activations: the error of rounding them.</param>
public sealed record SchemeQuality(double FloatLevel, double Int8Level, double Int8LevelOfExactBody);
