using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes.Lut;

/// <summary>The grid of binary coding: <c>z + sum over planes i of alpha_i * (2 c_i - 1)</c>, c_i bit i of the code.</summary>
internal sealed class LutFreeGrid(LutGeometry geometry) : LutGrid(geometry), IBinaryCodedGrid
{
    public int Planes => Geometry.Parameters.Bits;

    public void SetGroup(long n, int g, ReadOnlySpan<float> alphas, float offset)
    {
        if (alphas.Length != Planes) throw new ArgumentException($"there are {alphas.Length} coefficients; there must be {Planes}", nameof(alphas));
        var stored = CoefficientsOf(n, g);
        for (var i = 0; i < alphas.Length; i++) stored[i] = Stored(alphas[i], "coefficient", n, g);
        Offsets(n)[g] = Stored(offset, "offset", n, g);
    }

    public float GetGroup(long n, int g, Span<float> alphas)
    {
        CoefficientsOf(n, g).CopyTo(alphas);
        return Offsets(n)[g];
    }

    protected override void FitGroup(long n, int g, ReadOnlySpan<float> values, ReadOnlySpan<float> importance) =>
        Offsets(n)[g] = BinaryFit.Fit(values, importance, Geometry.Parameters.ScaleType, CoefficientsOf(n, g));

    protected override bool RoundGroup(long n, int g, ReadOnlySpan<float> values, Span<byte> codes) =>
        BinaryCoding.Round(values, CoefficientsOf(n, g), Offsets(n)[g], codes);
}
