using System.Numerics.Tensors;

namespace OrtQuant.Schemes.Dual;

/// <summary>
/// Chooses the parameters of rows and groups (SPEC.md, "What the encoder chooses"): first the scale of a row, which maps its weights to int8 and keeps
/// away from the ends (the protective range), then an integer scale and zero point for each group, by least squared error.
/// </summary>
internal static class DualFit
{
    /// <summary>A row's largest magnitude becomes this, so that a group that rounds it up by half a step of 16 stays within 127.</summary>
    public const float ProtectedRange = 119f;

    /// <summary>Most that a code stands for.</summary>
    public const int MaxInt8 = 127;

    /// <summary>A group scale above this would leave int8 between its first and last code.</summary>
    public const int MaxGroupScale = 16;

    private const int ScalesTried = 3;
    private const int ShiftsTried = 2;
    private const float ShiftUnit = 0.2f;
    private const float MinScale = 1.17549435e-38f;

    /// <summary>The row cannot be held; the message says why.</summary>
    internal sealed class UnrepresentableException(string message) : Exception(message);

    /// <summary>Shares of the largest magnitude that a row's scale is tried for, where the squared errors have weights.</summary>
    public static ReadOnlySpan<float> Clips => [1f, 0.93f, 0.86f];

    /// <summary>The scale by which a row of this largest magnitude becomes int8; 0 for a row of zeros.</summary>
    public static float RowScale(float largest)
    {
        if (largest == 0) return 0;
        if (largest > float.MaxValue / 2) throw new UnrepresentableException($"its largest magnitude is {largest:g4}; it must be below {float.MaxValue / 2:g4}");
        return Math.Max(largest / ProtectedRange, MinScale);
    }

    /// <summary>
    /// The integer scale and zero point of a group with the least squared error, weighted where weights are given, among those near what covers
    /// its range.
    /// </summary>
    /// <param name="values">The group in units of the row's scale.</param>
    /// <param name="importance">Empty, or the weights of the squared errors.</param>
    /// <param name="error">The error of the choice.</param>
    public static (byte Scale, sbyte ZeroPoint) Group(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, out double error)
    {
        var lowest = Math.Max(TensorPrimitives.Min(values), -ProtectedRange);
        var highest = Math.Min(TensorPrimitives.Max(values), ProtectedRange);
        if (lowest == 0 && highest == 0)
        {
            error = 0;
            return (1, 0);
        }

        // A value beyond the protected range (an error-feedback quantizer has moved it there) may leave nothing between the two.
        highest = Math.Max(highest, lowest);
        var covering = Math.Clamp((int)MathF.Ceiling((highest - lowest) / DualGeometry.MaxCode), 1, MaxGroupScale);
        var best = (Scale: (byte)0, ZeroPoint: (sbyte)0);
        error = double.PositiveInfinity;
        for (var scale = covering; scale > Math.Max(0, covering - ScalesTried); scale--)
        {
            var centred = MathF.Round(((DualGeometry.MaxCode * scale) - lowest - highest) / 2);
            var previous = int.MaxValue;
            for (var shift = -ShiftsTried; shift <= ShiftsTried; shift++)
            {
                var zeroPoint = ClampZeroPoint(centred + MathF.Round(shift * ShiftUnit * scale), scale);
                if (zeroPoint == previous) continue;
                previous = zeroPoint;
                var candidate = DualRound.SquaredError(values, importance, scale, zeroPoint);
                if (candidate < error) (best, error) = (((byte)scale, (sbyte)zeroPoint), candidate);
            }
        }

        return best;
    }

    /// <summary>The nearest zero point with which every code of this scale stands for an int8.</summary>
    public static int ClampZeroPoint(float zeroPoint, int scale) =>
        (int)Math.Clamp(MathF.Round(zeroPoint), (DualGeometry.MaxCode * scale) - MaxInt8, MaxInt8);
}
