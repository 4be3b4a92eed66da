using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Smooth;

/// <summary>Over which rows of X the maximum of a group of channels is taken.</summary>
public enum SmoothScope
{
    /// <summary>No smoothing: a row of X has one step for all of K.</summary>
    None,

    /// <summary>Each row (token) by itself: results do not depend on what else is in a call.</summary>
    Token,

    /// <summary>All rows of a call, as in the paper: results of a token depend on the others.</summary>
    Call,
}

/// <summary>Parameters of scheme <c>smooth</c>. Codes of weights are always 4 bits wide, without zero points.</summary>
/// <param name="GroupSize">Consecutive k that share a scale of the weight: a power of two, at least 16; or -1 for a whole row.</param>
/// <param name="SmoothSize">Consecutive k whose activations are divided by one maximum: a power of two, 16 to 2^20.</param>
/// <param name="ActivationBits">Width of a quantized activation: 4 or 8.</param>
/// <param name="Scope">Over which rows the maximum is taken.</param>
/// <param name="ScaleType">Type of the weight's scales: Float16 or Float32.</param>
public sealed record SmoothParameters(
    int GroupSize = 32, int SmoothSize = 32, int ActivationBits = 4, SmoothScope Scope = SmoothScope.Token, ElementType ScaleType = ElementType.Float16)
    : SchemeParameters
{
    /// <summary>The group size that makes a row one group.</summary>
    public const int WholeRow = -1;

    /// <summary>For example <c>4-bit g32, 4-bit activations smoothed in g32 over a token</c>.</summary>
    public override string ToString() =>
        $"4-bit {(GroupSize == WholeRow ? "whole row" : $"g{GroupSize}")}, {ActivationBits}-bit activations "
        + Scope switch
        {
            SmoothScope.None => "not smoothed",
            SmoothScope.Token => $"smoothed in g{SmoothSize} over a token",
            _ => $"smoothed in g{SmoothSize} over a call",
        }
        + (ScaleType == ElementType.Float32 ? ", float32 scales" : "");
}
