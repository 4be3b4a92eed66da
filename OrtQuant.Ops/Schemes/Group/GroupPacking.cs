using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace OrtQuant.Schemes.Group;

/// <summary>Between codes of a byte each and the planes of layout <c>n16</c> (SPEC.md, "Packed weights").</summary>
internal static class GroupPacking
{
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
                var row = MemoryMarshal.Cast<byte, uint>(codes.Slice((lane * stride) + (c * GroupGeometry.ChunkSize), GroupGeometry.ChunkSize));
                if (bits == 3)
                {
                    PackPlane(row, 0, 2, lane, chunk);
                    PackPlane(row, 2, 1, lane, chunk[(2 * VectorBytes)..]);
                }
                else
                {
                    PackPlane(row, 0, bits, lane, chunk);
                }
            }
        }
    }

    /// <summary>Unpacks the codes of one tile: the inverse of <see cref="Pack"/>.</summary>
    public static void Unpack(ReadOnlySpan<byte> packed, int stride, int bits, Span<byte> codes)
    {
        var chunkBytes = GroupGeometry.TileRows * GroupGeometry.ChunkSize * bits / 8;
        codes.Clear();
        for (var c = 0; c < stride / GroupGeometry.ChunkSize; c++)
        {
            var chunk = packed.Slice(c * chunkBytes, chunkBytes);
            for (var lane = 0; lane < GroupGeometry.TileRows; lane++)
            {
                var row = MemoryMarshal.Cast<byte, uint>(codes.Slice((lane * stride) + (c * GroupGeometry.ChunkSize), GroupGeometry.ChunkSize));
                if (bits == 3)
                {
                    UnpackPlane(chunk, 0, 2, lane, row);
                    UnpackPlane(chunk[(2 * VectorBytes)..], 2, 1, lane, row);
                }
                else
                {
                    UnpackPlane(chunk, 0, bits, lane, row);
                }
            }
        }
    }

    private const int VectorBytes = 64;

    // Four codes of consecutive k are one little-endian word, so that field i of four bytes is one shift of word i.
    private static void PackPlane(ReadOnlySpan<uint> row, int firstBit, int width, int lane, Span<byte> plane)
    {
        var fields = 8 / width;
        var mask = ((1u << width) - 1) * 0x01010101u;
        for (var v = 0; v < width; v++)
        {
            uint word = 0;
            for (var i = 0; i < fields; i++)
            {
                word |= ((row[(v * fields) + i] >> firstBit) & mask) << (i * width);
            }

            BinaryPrimitives.WriteUInt32LittleEndian(plane[((v * VectorBytes) + (4 * lane))..], word);
        }
    }

    private static void UnpackPlane(ReadOnlySpan<byte> plane, int firstBit, int width, int lane, Span<uint> row)
    {
        var fields = 8 / width;
        var mask = ((1u << width) - 1) * 0x01010101u;
        for (var v = 0; v < width; v++)
        {
            var word = BinaryPrimitives.ReadUInt32LittleEndian(plane[((v * VectorBytes) + (4 * lane))..]);
            for (var i = 0; i < fields; i++)
            {
                row[(v * fields) + i] |= ((word >> (i * width)) & mask) << firstBit;
            }
        }
    }
}
