using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Lut;

/// <summary>How the levels of a group lie.</summary>
public enum LutLevels
{
    /// <summary>A coefficient for each plane and an offset: <c>w = z + sum alpha_i * (2 c_i - 1)</c>.</summary>
    Free,

    /// <summary>Evenly spaced: <c>w = scale * (q - zero point)</c>.</summary>
    Uniform,
}

/// <summary>Parameters of scheme <c>lut</c>.</summary>
/// <param name="Bits">Planes: 1 to 4, with uniform levels 2 to 4.</param>
/// <param name="GroupSize">Consecutive k that share parameters: a power of two, at least 16; or <see cref="WholeRow"/>.</param>
/// <param name="Levels">How the levels of a group lie.</param>
/// <param name="IntegerZeroPoints">With uniform levels: zero points are integers among the codes; else real numbers in the type of the scales.</param>
/// <param name="ScaleType">Type of coefficients, scales, offsets and float zero points: Float16 or Float32.</param>
public sealed record LutParameters(
    int Bits = 3, int GroupSize = 64, LutLevels Levels = LutLevels.Free, bool IntegerZeroPoints = false, ElementType ScaleType = ElementType.Float16)
    : SchemeParameters
{
    /// <summary>The group size that makes a row one group.</summary>
    public const int WholeRow = -1;

    /// <summary>For example <c>3-bit g64, free levels</c>.</summary>
    public override string ToString() =>
        $"{Bits}-bit {(GroupSize == WholeRow ? "whole row" : $"g{GroupSize}")}, "
        + (Levels == LutLevels.Free ? "free levels" : $"uniform levels, {(IntegerZeroPoints ? "integer" : "float")} zero points")
        + (ScaleType == ElementType.Float32 ? ", float32 scales" : "");
}
