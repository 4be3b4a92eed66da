using System.Globalization;

namespace OrtQuant.Schemes.Mixed;

/// <summary>Parameters of scheme <c>mixed</c>.</summary>
/// <param name="Bits">Most stored bits per weight, everything of the format included: as many groups get 4 bits as fit. 2 to 4.75.</param>
/// <param name="GroupSize">Consecutive k that share a scale and a zero point: 16, 32 or 64.</param>
/// <param name="Outliers">Outliers of a row in each block of at most 256 inputs: 0 to 4.</param>
public sealed record MixedParameters(double Bits = 2.91, int GroupSize = 32, int Outliers = 1) : SchemeParameters
{
    /// <summary>For example <c>2 and 4 bits g32, 1 outlier a block, at most 2.91 bits per weight</c>.</summary>
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"2 and 4 bits g{GroupSize}, {Outliers} outlier{(Outliers == 1 ? "" : "s")} a block, at most {Bits} bits per weight");
}
