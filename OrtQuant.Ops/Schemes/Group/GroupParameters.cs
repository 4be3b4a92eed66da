using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Group;

/// <summary>How scheme <c>group</c> stores zero points.</summary>
public enum ZeroPointKind
{
    /// <summary>Not stored: <c>2^(bits - 1)</c> everywhere (symmetric).</summary>
    None,

    /// <summary>An integer of the width of a code (4 bits for 3-bit codes) for each group.</summary>
    Integer,

    /// <summary>A real number for each group, in the type of the scales.</summary>
    Float,
}

/// <summary>Parameters of scheme <c>group</c>.</summary>
/// <param name="Bits">Width of a code: 2, 3, 4 or 8.</param>
/// <param name="GroupSize">Consecutive k that share a scale: a power of two, at least 16; or <see cref="WholeRow"/>.</param>
/// <param name="ZeroPoint">How zero points are stored.</param>
/// <param name="ScaleType">Type of the scales, and of float zero points: Float16 or Float32.</param>
public sealed record GroupParameters(
    int Bits = 4, int GroupSize = 32, ZeroPointKind ZeroPoint = ZeroPointKind.Integer, ElementType ScaleType = ElementType.Float16)
    : SchemeParameters
{
    /// <summary>The group size that makes a row one group.</summary>
    public const int WholeRow = -1;

    /// <summary>For example <c>4-bit g32, integer zero points</c>.</summary>
    public override string ToString() =>
        $"{Bits}-bit {(GroupSize == WholeRow ? "whole row" : $"g{GroupSize}")}, "
        + ZeroPoint switch
        {
            ZeroPointKind.None => "symmetric",
            ZeroPointKind.Integer => "integer zero points",
            _ => "float zero points",
        }
        + (ScaleType == ElementType.Float32 ? ", float32 scales" : "");
}
