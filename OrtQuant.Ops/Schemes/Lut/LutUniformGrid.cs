using System.Buffers;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes.Lut;

/// <summary>The grid of evenly spaced levels, <c>scale * (q - zero point)</c>: that of scheme <c>group</c>, its groups fitted by least squares.</summary>
internal sealed class LutUniformGrid(LutGeometry geometry) : LutGrid(geometry), IAffineGrid
{
    public void SetGroup(long n, int g, float scale, float zeroPoint)
    {
        Coefficients(n)[g] = Stored(scale, "scale", n, g);
        Offsets(n)[g] = Geometry.Parameters.IntegerZeroPoints ? GroupFit.IntegerZeroPoint(zeroPoint, MaxCode) : Stored(zeroPoint, "zero point", n, g);
    }

    public (float Scale, float ZeroPoint) GetGroup(long n, int g) => (Coefficients(n)[g], Offsets(n)[g]);

    protected override void FitGroup(long n, int g, ReadOnlySpan<float> values, ReadOnlySpan<float> importance)
    {
        var parameters = new GroupParameters(
            Geometry.Parameters.Bits, Geometry.Parameters.GroupSize, Geometry.Parameters.IntegerZeroPoints ? ZeroPointKind.Integer : ZeroPointKind.Float, Geometry.Parameters.ScaleType);
        if (!importance.IsEmpty)
        {
            (Coefficients(n)[g], Offsets(n)[g]) = GroupFit.Weighted(values, importance, parameters);
            return;
        }

        var ones = ArrayPool<float>.Shared.Rent(values.Length);
        ones.AsSpan(0, values.Length).Fill(1f);
        (Coefficients(n)[g], Offsets(n)[g]) = GroupFit.Weighted(values, ones.AsSpan(0, values.Length), parameters);
        ArrayPool<float>.Shared.Return(ones);
    }

    protected override bool RoundGroup(long n, int g, ReadOnlySpan<float> values, Span<byte> codes) =>
        GroupRound.Round(values, Coefficients(n)[g], Offsets(n)[g], MaxCode, codes);
}
