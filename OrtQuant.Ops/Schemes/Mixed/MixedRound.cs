using System.Numerics.Tensors;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes.Mixed;

/// <summary>How a group is held, apart from its codes: 2 or 4 bits, and its scale and zero point in 4 bits each.</summary>
/// <param name="IsRefined">Codes of 4 bits, in steps of 1; else of 2 bits, in steps of 4.</param>
/// <param name="Scale">s, 0 to 15.</param>
/// <param name="ZeroPoint">z, 0 to 15, in steps of a 4-bit code.</param>
internal readonly record struct MixedGroup(bool IsRefined, int Scale, int ZeroPoint)
{
    /// <summary>Largest scale and zero point.</summary>
    public const int Most = 15;

    /// <summary>Steps from one code to the next.</summary>
    public int Step => StepOf(IsRefined);

    /// <summary>Largest code.</summary>
    public int MaxCode => MaxCodeOf(IsRefined);

    public static int StepOf(bool isRefined) => isRefined ? 1 : 4;

    public static int MaxCodeOf(bool isRefined) => isRefined ? 15 : 3;

    /// <summary>The distance of neighbouring codes, and the zero point in units of codes.</summary>
    public (float Scale, float ZeroPoint) Affine(float blockScale) => (blockScale * (Scale * Step), ZeroPoint / (float)Step);
}

/// <summary>Between values and codes of one group: <c>v = block scale * s * (step * code - z)</c>; the integer is exact, the product rounded once.</summary>
internal static class MixedRound
{
    /// <summary>Picks the nearest codes; false if a value is not finite.</summary>
    public static bool Round(ReadOnlySpan<float> values, float blockScale, MixedGroup group, Span<byte> codes)
    {
        var (scale, zeroPoint) = group.Affine(blockScale);
        return GroupRound.Round(values, scale, zeroPoint, group.MaxCode, codes);
    }

    /// <summary>The integers <c>s * (step * code - z)</c>.</summary>
    public static void Integers(ReadOnlySpan<byte> codes, MixedGroup group, Span<float> integers)
    {
        TensorPrimitives.ConvertTruncating<byte, float>(codes, integers);
        TensorPrimitives.Multiply(integers, group.Step, integers);
        TensorPrimitives.Subtract(integers, group.ZeroPoint, integers);
        TensorPrimitives.Multiply(integers, group.Scale, integers);

        // An integer has no negative zero.
        TensorPrimitives.Add(integers, 0f, integers);
    }
}
