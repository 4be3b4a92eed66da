using System.Buffers.Binary;

namespace OrtQuant.Schemes.Lut;

/// <summary>Between codes of a byte each and the planes of layout <c>p16</c> (SPEC.md, "Packed weights").</summary>
internal static class LutPacking
{
    private const int Octet = 8;
    private const ulong LowBits = 0x0101010101010101;

    // Bit 8 j of a word arrives at bit 56 + j of its product with this; nothing else reaches that byte, and nothing carries into it.
    private const ulong Gather = 0x0102040810204080;

    // Byte j of entry b is bit j of b.
    private static readonly ulong[] Spread = MakeSpread();

    /// <summary>Packs the codes of one tile.</summary>
    /// <param name="codes"><c>[16, stride]</c>, stride a multiple of 32, padding zero.</param>
    /// <param name="stride">Codes from one row to the next.</param>
    /// <param name="bits">1 to 4.</param>
    /// <param name="packed">Destination: <c>stride / 8</c> octets of <c>16 * bits</c> bytes.</param>
    public static void Pack(ReadOnlySpan<byte> codes, int stride, int bits, Span<byte> packed)
    {
        var octetBytes = LutGeometry.TileRows * bits;
        for (var lane = 0; lane < LutGeometry.TileRows; lane++)
        {
            var row = codes.Slice(lane * stride, stride);
            for (var o = 0; o < stride / Octet; o++)
            {
                var eight = BinaryPrimitives.ReadUInt64LittleEndian(row[(o * Octet)..]);
                for (var plane = 0; plane < bits; plane++)
                {
                    packed[(o * octetBytes) + Position(plane, bits, lane)] = (byte)((((eight >> plane) & LowBits) * Gather) >> 56);
                }
            }
        }
    }

    /// <summary>Unpacks the codes of one tile: the inverse of <see cref="Pack"/>.</summary>
    public static void Unpack(ReadOnlySpan<byte> packed, int stride, int bits, Span<byte> codes)
    {
        var octetBytes = LutGeometry.TileRows * bits;
        for (var lane = 0; lane < LutGeometry.TileRows; lane++)
        {
            var row = codes.Slice(lane * stride, stride);
            for (var o = 0; o < stride / Octet; o++)
            {
                ulong eight = 0;
                for (var plane = 0; plane < bits; plane++)
                {
                    eight |= Spread[packed[(o * octetBytes) + Position(plane, bits, lane)]] << plane;
                }

                BinaryPrimitives.WriteUInt64LittleEndian(row[(o * Octet)..], eight);
            }
        }
    }

    // Planes of a pair stand side by side; an odd last one alone.
    private static int Position(int plane, int bits, int lane)
    {
        var first = plane / 2 * 2 * LutGeometry.TileRows;
        return plane % 2 == 0 && plane + 1 == bits ? first + lane : first + (2 * lane) + (plane % 2);
    }

    private static ulong[] MakeSpread()
    {
        var spread = new ulong[256];
        for (var value = 0; value < spread.Length; value++)
        {
            for (var bit = 0; bit < 8; bit++) spread[value] |= (ulong)((value >> bit) & 1) << (8 * bit);
        }

        return spread;
    }
}
