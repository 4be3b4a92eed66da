using System.Numerics.Tensors;
using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Group;

/// <summary>Chooses scale and zero point of one group, rounded as they will be stored.</summary>
internal static class GroupFit
{
    private const float MaxFloat16 = 65504f;

    // Half the smallest float16 rounds to zero; a scale of zero is kept for groups that are all zero.
    private const float MinFloat16 = 5.9604645e-8f;
    private const float MinFloat32 = 1.17549435e-38f;

    // Rounding a normal float16 leaves 255 steps at most 255 / 2048 short of the range.
    private const double MaxOverrun = 0.125;

    /// <summary>The group cannot be held with this type of scale; the message says why.</summary>
    internal sealed class UnrepresentableException(string message) : Exception(message);

    /// <summary>Covers the range of the values: nothing is clipped by more than half a step and an eighth (rounding of zero point and scale).</summary>
    public static (float Scale, float ZeroPoint) Range(ReadOnlySpan<float> values, GroupParameters parameters)
    {
        var (lowest, highest) = (TensorPrimitives.Min<float>(values), TensorPrimitives.Max<float>(values));
        if (!float.IsFinite(lowest) || !float.IsFinite(highest))
        {
            throw new UnrepresentableException("a value is NaN or infinite; weights must be finite");
        }

        return FromRange(lowest, highest, parameters);
    }

    /// <summary>Minimizes the squared error weighted by <paramref name="importance"/>.</summary>
    public static (float Scale, float ZeroPoint) Weighted(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, GroupParameters parameters) =>
        GroupSearch.Weighted(values, importance, parameters);

    /// <summary>The parameters that cover <c>lowest .. highest</c>.</summary>
    public static (float Scale, float ZeroPoint) FromRange(float lowest, float highest, GroupParameters parameters)
    {
        var maxCode = (1 << parameters.Bits) - 1;
        switch (parameters.ZeroPoint)
        {
            case ZeroPointKind.None:
                // The value of largest magnitude takes code 0, which reaches one step farther than the other end: the scale is
                // negative where that value is positive.
                var half = 1 << (parameters.Bits - 1);
                var extreme = highest > -lowest ? highest : lowest;
                return (StoreScale(extreme / -(double)half, half, parameters.ScaleType), half);

            case ZeroPointKind.Integer:
                lowest = Math.Min(lowest, 0);
                highest = Math.Max(highest, 0);
                var scale = StoreScale(((double)highest - lowest) / maxCode, maxCode, parameters.ScaleType);
                return (scale, scale == 0 ? 0 : IntegerZeroPoint(-lowest / scale, maxCode));

            default:
                // Zero need not be a code, but a range far from it would need a zero point that 16 bits cannot hold well.
                lowest = lowest > 0 ? Math.Min(lowest, highest / 2) : lowest;
                highest = highest < 0 ? Math.Max(highest, lowest / 2) : highest;
                scale = StoreScale(((double)highest - lowest) / maxCode, maxCode, parameters.ScaleType);
                return (scale, scale == 0 ? 0 : Store(-lowest / scale, parameters.ScaleType));
        }
    }

    /// <summary>The nearest zero point that can be stored as an integer.</summary>
    public static float IntegerZeroPoint(float zeroPoint, int maxCode) => Math.Clamp(MathF.Round(zeroPoint), 0, maxCode);

    /// <summary>A number as it is stored, widened to float.</summary>
    public static float Store(double value, ElementType type) => type == ElementType.Float16 ? (float)(Half)value : (float)value;

    /// <summary>
    /// A scale as it is stored: never zero unless it is exactly zero, and large enough that <paramref name="steps"/> of them reach the end
    /// of the range to within an eighth of a step (among subnormal numbers the nearest one may be a third too small).
    /// </summary>
    private static float StoreScale(double scale, int steps, ElementType type)
    {
        if (scale == 0)
        {
            return 0;
        }

        var magnitude = Math.Abs(scale);
        if (type == ElementType.Float16 && magnitude > MaxFloat16)
        {
            throw new UnrepresentableException($"its scale would be {magnitude:g4}; the largest float16 is {MaxFloat16} (scale_type float32 holds it)");
        }

        // A code may stand half a step beyond the end of the range.
        if (magnitude * (steps + 1) > float.MaxValue)
        {
            throw new UnrepresentableException($"its range is about {magnitude * steps:g4}; a step more must be below {float.MaxValue:g4}");
        }

        var stored = Math.Max(Store(magnitude, type), type == ElementType.Float16 ? MinFloat16 : MinFloat32);
        if ((magnitude - stored) * steps > MaxOverrun * stored)
        {
            stored = type == ElementType.Float16 ? (float)Half.BitIncrement((Half)stored) : MathF.BitIncrement(stored);
        }

        return scale < 0 ? -stored : stored;
    }
}
