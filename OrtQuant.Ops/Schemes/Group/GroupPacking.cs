using System.Buffers.Binary;
using System.Runtime.Intrinsics.X86;

namespace OrtQuant.Schemes.Group;

/// <summary>Between codes of a byte each and the planes of layout <c>n16</c> (SPEC.md, "Packed weights").</summary>
internal static class GroupPacking
{
    private const int VectorBytes = 64;
    private const ulong EveryByte = 0x0101010101010101;

    // The third bit of each code, and where a vector's four bits of a byte go in the plane of high bits.
    private const ulong HighBits = 4 * EveryByte;
    private const uint EvenNibbles = 0x0F0F0F0F;

    /// <summary>Packs the codes of one tile.</summary>
    /// <param name="codes"><c>[16, stride]</c>, stride a multiple of 32, padding zero.</param>
    /// <param name="stride">Codes from one row to the next.</param>
    /// <param name="bits">2, 3, 4 or 8.</param>
    /// <param name="packed">Destination: <c>stride / 32</c> chunks.</param>
    public static void Pack(ReadOnlySpan<byte> codes, int stride, int bits, Span<byte> packed)
    {
        var chunkBytes = GroupGeometry.TileRows * GroupGeometry.ChunkSize * bits / 8;
        for (var c = 0; c < stride / GroupGeometry.ChunkSize; c++)
        {
            var chunk = packed.Slice(c * chunkBytes, chunkBytes);
            for (var lane = 0; lane < GroupGeometry.TileRows; lane++)
            {
                var row = codes.Slice((lane * stride) + (c * GroupGeometry.ChunkSize), GroupGeometry.ChunkSize);
                PackPlane(row, bits == 3 ? 2 : bits, lane, chunk);
                if (bits == 3)
                {
                    PackHighBits(row, lane, chunk[(2 * VectorBytes)..]);
                }
            }
        }
    }

    /// <summary>Unpacks the codes of one tile: the inverse of <see cref="Pack"/>.</summary>
    public static void Unpack(ReadOnlySpan<byte> packed, int stride, int bits, Span<byte> codes)
    {
        var chunkBytes = GroupGeometry.TileRows * GroupGeometry.ChunkSize * bits / 8;
        for (var c = 0; c < stride / GroupGeometry.ChunkSize; c++)
        {
            var chunk = packed.Slice(c * chunkBytes, chunkBytes);
            for (var lane = 0; lane < GroupGeometry.TileRows; lane++)
            {
                var row = codes.Slice((lane * stride) + (c * GroupGeometry.ChunkSize), GroupGeometry.ChunkSize);
                UnpackPlane(chunk, bits == 3 ? 2 : bits, lane, row);
                if (bits == 3)
                {
                    UnpackHighBits(chunk[(2 * VectorBytes)..], lane, row);
                }
            }
        }
    }

    // A lane's four bytes of vector v are 32 / width consecutive codes, the first in the lowest bits: eight codes at a time
    // are the gathered low bits of eight bytes.
    private static void PackPlane(ReadOnlySpan<byte> row, int width, int lane, Span<byte> plane)
    {
        var mask = ((1ul << width) - 1) * EveryByte;
        var eights = 4 / width;
        for (var v = 0; v < width; v++)
        {
            ulong word = 0;
            if (width == 8)
            {
                word = BinaryPrimitives.ReadUInt32LittleEndian(row[(4 * v)..]);
            }

            for (var i = 0; i < eights; i++)
            {
                word |= GatherBits(BinaryPrimitives.ReadUInt64LittleEndian(row[(8 * ((v * eights) + i))..]), mask) << (8 * width * i);
            }

            BinaryPrimitives.WriteUInt32LittleEndian(plane[((v * VectorBytes) + (4 * lane))..], (uint)word);
        }
    }

    private static void UnpackPlane(ReadOnlySpan<byte> plane, int width, int lane, Span<byte> row)
    {
        var mask = ((1ul << width) - 1) * EveryByte;
        var eights = 4 / width;
        for (var v = 0; v < width; v++)
        {
            var word = BinaryPrimitives.ReadUInt32LittleEndian(plane[((v * VectorBytes) + (4 * lane))..]);
            if (width == 8)
            {
                BinaryPrimitives.WriteUInt32LittleEndian(row[(4 * v)..], word);
            }

            for (var i = 0; i < eights; i++)
            {
                BinaryPrimitives.WriteUInt64LittleEndian(row[(8 * ((v * eights) + i))..], ScatterBits(word >> (8 * width * i), mask));
            }
        }
    }

    // Bit 4 v + i of byte j belongs to field i of byte j of low vector v.
    private static void PackHighBits(ReadOnlySpan<byte> row, int lane, Span<byte> plane)
    {
        ulong word = 0;
        for (var v = 0; v < 2; v++)
        {
            var bits = GatherBits(BinaryPrimitives.ReadUInt64LittleEndian(row[(16 * v)..]), HighBits)
                | (GatherBits(BinaryPrimitives.ReadUInt64LittleEndian(row[((16 * v) + 8)..]), HighBits) << 8);
            word |= ScatterBits(bits, EvenNibbles) << (4 * v);
        }

        BinaryPrimitives.WriteUInt32LittleEndian(plane[(4 * lane)..], (uint)word);
    }

    private static void UnpackHighBits(ReadOnlySpan<byte> plane, int lane, Span<byte> row)
    {
        var word = BinaryPrimitives.ReadUInt32LittleEndian(plane[(4 * lane)..]);
        for (var v = 0; v < 2; v++)
        {
            var bits = GatherBits(word >> (4 * v), EvenNibbles);
            for (var half = 0; half < 2; half++)
            {
                var eight = row[((16 * v) + (8 * half))..];
                var codes = BinaryPrimitives.ReadUInt64LittleEndian(eight) | ScatterBits(bits >> (8 * half), HighBits);
                BinaryPrimitives.WriteUInt64LittleEndian(eight, codes);
            }
        }
    }

    /// <summary>The bits of <paramref name="value"/> under <paramref name="mask"/>, moved together at the low end.</summary>
    private static ulong GatherBits(ulong value, ulong mask)
    {
        if (Bmi2.X64.IsSupported)
        {
            return Bmi2.X64.ParallelBitExtract(value, mask);
        }

        ulong result = 0;
        for (var bit = 0; mask != 0; bit++, mask &= mask - 1)
        {
            result |= ((value >> System.Numerics.BitOperations.TrailingZeroCount(mask)) & 1) << bit;
        }

        return result;
    }

    /// <summary>The inverse of <see cref="GatherBits"/>: the low bits of <paramref name="value"/>, moved under <paramref name="mask"/>.</summary>
    private static ulong ScatterBits(ulong value, ulong mask)
    {
        if (Bmi2.X64.IsSupported)
        {
            return Bmi2.X64.ParallelBitDeposit(value, mask);
        }

        ulong result = 0;
        for (var bit = 0; mask != 0; bit++, mask &= mask - 1)
        {
            result |= ((value >> bit) & 1) << System.Numerics.BitOperations.TrailingZeroCount(mask);
        }

        return result;
    }
}
