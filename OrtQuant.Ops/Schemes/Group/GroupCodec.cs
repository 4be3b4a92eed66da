using System.Buffers;
using System.Buffers.Binary;
using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Group;

/// <summary>Between a <see cref="GroupGrid"/> and the bytes of SPEC.md, tile by tile; tiles share no byte, so they go in parallel.</summary>
internal static class GroupCodec
{
    private const int Rows = GroupGeometry.TileRows;

    public static void Encode(GroupGrid grid, IReadOnlyList<Memory<byte>> tensors, int threads) =>
        ForTiles(grid.Geometry, threads, t => EncodeTile(grid, t, tensors));

    public static GroupGrid Read(GroupGeometry geometry, IReadOnlyList<ReadOnlyMemory<byte>> tensors, int threads, SchemeParameters? parameters = null)
    {
        var grid = new GroupGrid(geometry, parameters);
        ForTiles(geometry, threads, t =>
        {
            GroupPacking.Unpack(TileOf(tensors[0].Span, t, geometry.TileBytes), grid.RowStride, geometry.Parameters.Bits, grid.Tile(t));
            for (var n = t * Rows; n < RowEnd(geometry, t); n++)
            {
                ReadGroups(geometry, tensors, n, grid.Scales(n), grid.ZeroPoints(n));
            }
        });
        return grid;
    }

    public static void DecodeRows(GroupGeometry geometry, IReadOnlyList<ReadOnlyMemory<byte>> tensors, long n0, int count, Span<float> rows)
    {
        var k = (int)geometry.Shape.K;
        var stride = geometry.Chunks * GroupGeometry.ChunkSize;
        var codes = ArrayPool<byte>.Shared.Rent(Rows * stride);
        var parameters = ArrayPool<float>.Shared.Rent(2 * geometry.Groups);
        var scales = parameters.AsSpan(0, geometry.Groups);
        var zeroPoints = parameters.AsSpan(geometry.Groups, geometry.Groups);
        var tile = -1;
        for (var i = 0; i < count; i++)
        {
            var n = (int)n0 + i;
            if (n / Rows != tile)
            {
                tile = n / Rows;
                GroupPacking.Unpack(TileOf(tensors[0].Span, tile, geometry.TileBytes), stride, geometry.Parameters.Bits, codes.AsSpan(0, Rows * stride));
            }

            ReadGroups(geometry, tensors, n, scales, zeroPoints);
            for (var g = 0; g < geometry.Groups; g++)
            {
                var (start, length) = (g * geometry.GroupSize, geometry.GroupLength(g));
                GroupRound.Dequantize(
                    codes.AsSpan((n % Rows * stride) + start, length), scales[g], zeroPoints[g], rows.Slice((i * k) + start, length));
            }
        }

        ArrayPool<byte>.Shared.Return(codes);
        ArrayPool<float>.Shared.Return(parameters);
    }

    private static void EncodeTile(GroupGrid grid, int t, IReadOnlyList<Memory<byte>> tensors)
    {
        var geometry = grid.Geometry;
        GroupPacking.Pack(grid.Tile(t), grid.RowStride, geometry.Parameters.Bits, TileOf(tensors[0].Span, t, geometry.TileBytes));

        var scales = TileOf(tensors[1].Span, t, tensors[1].Length / geometry.Tiles);
        scales.Clear();
        var zeroPoints = tensors.Count > 2 ? TileOf(tensors[2].Span, t, tensors[2].Length / geometry.Tiles) : [];
        zeroPoints.Clear();
        for (var n = t * Rows; n < RowEnd(geometry, t); n++)
        {
            WriteFloats(grid.Scales(n), scales, n % Rows, geometry.Parameters.ScaleType);
            if (geometry.Parameters.ZeroPoint == ZeroPointKind.Float)
            {
                WriteFloats(grid.ZeroPoints(n), zeroPoints, n % Rows, geometry.Parameters.ScaleType);
            }
            else if (geometry.Parameters.ZeroPoint == ZeroPointKind.Integer)
            {
                WriteIntegers(grid.ZeroPoints(n), zeroPoints, n % Rows, geometry);
            }
        }
    }

    private static void ReadGroups(
        GroupGeometry geometry, IReadOnlyList<ReadOnlyMemory<byte>> tensors, int n, Span<float> scales, Span<float> zeroPoints)
    {
        var (t, lane, type) = (n / Rows, n % Rows, geometry.Parameters.ScaleType);
        ReadFloats(TileOf(tensors[1].Span, t, tensors[1].Length / geometry.Tiles), lane, type, scales);
        switch (geometry.Parameters.ZeroPoint)
        {
            case ZeroPointKind.None:
                zeroPoints.Fill(geometry.ImplicitZeroPoint);
                break;
            case ZeroPointKind.Float:
                ReadFloats(TileOf(tensors[2].Span, t, tensors[2].Length / geometry.Tiles), lane, type, zeroPoints);
                break;
            default:
                var tile = TileOf(tensors[2].Span, t, tensors[2].Length / geometry.Tiles);
                var (perByte, bits) = (geometry.ZeroPointsPerByte, geometry.ZeroPointBits);
                for (var g = 0; g < zeroPoints.Length; g++)
                {
                    zeroPoints[g] = (tile[(g / perByte * Rows) + lane] >> (g % perByte * bits)) & ((1 << bits) - 1);
                }

                break;
        }
    }

    private static void WriteIntegers(ReadOnlySpan<float> zeroPoints, Span<byte> tile, int lane, GroupGeometry geometry)
    {
        var (perByte, bits) = (geometry.ZeroPointsPerByte, geometry.ZeroPointBits);
        for (var g = 0; g < zeroPoints.Length; g++)
        {
            tile[(g / perByte * Rows) + lane] |= (byte)((int)zeroPoints[g] << (g % perByte * bits));
        }
    }

    private static void WriteFloats(ReadOnlySpan<float> values, Span<byte> tile, int lane, ElementType type)
    {
        for (var g = 0; g < values.Length; g++)
        {
            var index = (g * Rows) + lane;
            if (type == ElementType.Float16)
            {
                BinaryPrimitives.WriteHalfLittleEndian(tile[(2 * index)..], (Half)values[g]);
            }
            else
            {
                BinaryPrimitives.WriteSingleLittleEndian(tile[(4 * index)..], values[g]);
            }
        }
    }

    private static void ReadFloats(ReadOnlySpan<byte> tile, int lane, ElementType type, Span<float> values)
    {
        for (var g = 0; g < values.Length; g++)
        {
            var index = (g * Rows) + lane;
            values[g] = type == ElementType.Float16
                ? (float)BinaryPrimitives.ReadHalfLittleEndian(tile[(2 * index)..])
                : BinaryPrimitives.ReadSingleLittleEndian(tile[(4 * index)..]);
        }
    }

    private static int RowEnd(GroupGeometry geometry, int t) => (int)Math.Min(geometry.Shape.N, (t + 1L) * Rows);

    private static Span<byte> TileOf(Span<byte> tensor, int t, long bytes) => tensor.Slice((int)(t * bytes), (int)bytes);

    private static ReadOnlySpan<byte> TileOf(ReadOnlySpan<byte> tensor, int t, long bytes) => tensor.Slice((int)(t * bytes), (int)bytes);

    private static void ForTiles(GroupGeometry geometry, int threads, Action<int> body) =>
        Parallel.For(0, geometry.Tiles, new ParallelOptions { MaxDegreeOfParallelism = threads > 0 ? threads : Environment.ProcessorCount }, body);
}
