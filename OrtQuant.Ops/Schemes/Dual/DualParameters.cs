namespace OrtQuant.Schemes.Dual;

/// <summary>Parameters of scheme <c>dual</c>. Codes are always 4 bits wide.</summary>
/// <param name="GroupSize">Consecutive k that share an integer scale and zero point: 32, 64, 128 or 256.</param>
public sealed record DualParameters(int GroupSize = 128) : SchemeParameters
{
    /// <summary>For example <c>4-bit g128 in int8 rows</c>.</summary>
    public override string ToString() => $"4-bit g{GroupSize} in int8 rows";
}
