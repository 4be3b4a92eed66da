namespace OrtQuant.Schemes.Mixed;

/// <summary>Between codes of a byte each and vectors of 64 bytes: 2 bits of 16 outputs x 16 k (SPEC.md, "Packed weights").</summary>
internal static class MixedPacking
{
    private const int Lanes = MixedGeometry.TileRows;
    private const int Depth = MixedGeometry.VectorDepth;

    /// <summary>Packs <c>(code >> shift) &amp; 3</c> of 16 outputs x 16 k.</summary>
    /// <param name="codes">The first of them; rows are <paramref name="stride"/> apart.</param>
    /// <param name="stride">Codes from one row to the next.</param>
    /// <param name="shift">0, or 2 for the upper half of 4-bit codes.</param>
    /// <param name="vector">Destination, 64 bytes.</param>
    public static void Pack(ReadOnlySpan<byte> codes, int stride, int shift, Span<byte> vector)
    {
        for (var lane = 0; lane < Lanes; lane++)
        {
            var row = codes.Slice(lane * stride, Depth);
            for (var j = 0; j < 4; j++)
            {
                var packed = 0;
                for (var i = 0; i < 4; i++) packed |= ((row[(4 * j) + i] >> shift) & 3) << (2 * i);
                vector[(4 * lane) + j] = (byte)packed;
            }
        }
    }

    /// <summary>Adds the fields of a vector, shifted to the left, to codes.</summary>
    public static void Unpack(ReadOnlySpan<byte> vector, int stride, int shift, Span<byte> codes)
    {
        for (var lane = 0; lane < Lanes; lane++)
        {
            var row = codes.Slice(lane * stride, Depth);
            for (var j = 0; j < 4; j++)
            {
                for (var i = 0; i < 4; i++) row[(4 * j) + i] |= (byte)(((vector[(4 * lane) + j] >> (2 * i)) & 3) << shift);
            }
        }
    }
}
