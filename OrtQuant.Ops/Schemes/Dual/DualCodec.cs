using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes.Dual;

/// <summary>Between a <see cref="DualGrid"/> and the bytes of SPEC.md, tile by tile; tiles share no byte, so they go in parallel.</summary>
internal static class DualCodec
{
    private const int Rows = DualGeometry.TileRows;
    private const int Codes = 0, RowScales = 1, ZeroPoints = 2, GroupScales = 3, RowSums = 4;

    public static void Encode(DualGrid grid, IReadOnlyList<Memory<byte>> tensors, int threads) =>
        ForTiles(grid.Geometry, threads, t => EncodeTile(grid, t, tensors));

    public static DualGrid Read(DualGeometry geometry, IReadOnlyList<ReadOnlyMemory<byte>> tensors, int threads)
    {
        var grid = new DualGrid(geometry);
        ForTiles(geometry, threads, t =>
        {
            GroupPacking.Unpack(Tile(tensors[Codes], t, geometry), grid.RowStride, DualGeometry.Bits, grid.Tile(t));
            for (var n = t * Rows; n < RowEnd(geometry, t); n++)
            {
                grid.RowScales[n] = RowScale(tensors, n);
                ReadGroups(geometry, tensors, n, grid.GroupScales(n), grid.ZeroPoints(n));
            }
        });
        return grid;
    }

    public static void DecodeRows(DualGeometry geometry, IReadOnlyList<ReadOnlyMemory<byte>> tensors, long n0, int count, Span<float> rows)
    {
        var k = (int)geometry.Shape.K;
        var stride = geometry.Chunks * DualGeometry.ChunkSize;
        var codes = ArrayPool<byte>.Shared.Rent(Rows * stride);
        var parameters = ArrayPool<byte>.Shared.Rent(2 * geometry.Groups);
        var scales = parameters.AsSpan(0, geometry.Groups);
        var zeroPoints = MemoryMarshal.Cast<byte, sbyte>(parameters.AsSpan(geometry.Groups, geometry.Groups));
        var tile = -1;
        for (var i = 0; i < count; i++)
        {
            var n = (int)n0 + i;
            if (n / Rows != tile)
            {
                tile = n / Rows;
                GroupPacking.Unpack(Tile(tensors[Codes], tile, geometry), stride, DualGeometry.Bits, codes.AsSpan(0, Rows * stride));
            }

            ReadGroups(geometry, tensors, n, scales, zeroPoints);
            var rowScale = RowScale(tensors, n);
            for (var g = 0; g < geometry.Groups; g++)
            {
                var (start, length) = (g * geometry.GroupSize, geometry.GroupLength(g));
                DualRound.Dequantize(
                    codes.AsSpan((n % Rows * stride) + start, length), rowScale, scales[g], zeroPoints[g], rows.Slice((i * k) + start, length));
            }
        }

        ArrayPool<byte>.Shared.Return(codes);
        ArrayPool<byte>.Shared.Return(parameters);
    }

    private static void EncodeTile(DualGrid grid, int t, IReadOnlyList<Memory<byte>> tensors)
    {
        var geometry = grid.Geometry;
        GroupPacking.Pack(grid.Tile(t), grid.RowStride, DualGeometry.Bits, tensors[Codes].Span.Slice((int)(t * geometry.TileBytes), (int)geometry.TileBytes));

        var rowScales = tensors[RowScales].Span.Slice(4 * Rows * t, 4 * Rows);
        var tileGroups = geometry.Groups * Rows;
        var zeroPoints = MemoryMarshal.Cast<byte, sbyte>(tensors[ZeroPoints].Span.Slice(t * tileGroups, tileGroups));
        var groupScales = tensors[GroupScales].Span.Slice(t * tileGroups, tileGroups);
        var rowSums = tensors[RowSums].Span.Slice(4 * Rows * t, 4 * Rows);
        rowScales.Clear();
        rowSums.Clear();
        zeroPoints.Clear();
        groupScales.Clear();
        for (var n = t * Rows; n < RowEnd(geometry, t); n++)
        {
            var lane = n % Rows;
            BinaryPrimitives.WriteSingleLittleEndian(rowScales[(4 * lane)..], grid.RowScales[n]);
            BinaryPrimitives.WriteInt32LittleEndian(rowSums[(4 * lane)..], RowSum(grid, n));
            for (var g = 0; g < geometry.Groups; g++)
            {
                zeroPoints[(g * Rows) + lane] = grid.ZeroPoints(n)[g];
                groupScales[(g * Rows) + lane] = grid.GroupScales(n)[g];
            }
        }
    }

    // Sum over k of s * q - z.
    private static int RowSum(DualGrid grid, int n)
    {
        var codes = grid.Codes(n);
        var total = 0;
        for (var g = 0; g < grid.GroupCount; g++)
        {
            var (length, sum) = (grid.Geometry.GroupLength(g), 0);
            foreach (var code in codes.Slice(g * grid.GroupSize, length)) sum += code;
            total += (grid.GroupScales(n)[g] * sum) - (grid.ZeroPoints(n)[g] * length);
        }

        return total;
    }

    private static float RowScale(IReadOnlyList<ReadOnlyMemory<byte>> tensors, int n) => BinaryPrimitives.ReadSingleLittleEndian(tensors[RowScales].Span[(4 * n)..]);

    private static void ReadGroups(DualGeometry geometry, IReadOnlyList<ReadOnlyMemory<byte>> tensors, int n, Span<byte> scales, Span<sbyte> zeroPoints)
    {
        var storedScales = tensors[GroupScales].Span;
        var storedZeroPoints = tensors[ZeroPoints].Span;
        for (var g = 0; g < geometry.Groups; g++)
        {
            var index = (((n / Rows * geometry.Groups) + g) * Rows) + (n % Rows);
            scales[g] = storedScales[index];
            zeroPoints[g] = (sbyte)storedZeroPoints[index];
        }
    }

    private static int RowEnd(DualGeometry geometry, int t) => (int)Math.Min(geometry.Shape.N, (t + 1L) * Rows);

    private static ReadOnlySpan<byte> Tile(ReadOnlyMemory<byte> tensor, int t, DualGeometry geometry) =>
        tensor.Span.Slice((int)(t * geometry.TileBytes), (int)geometry.TileBytes);

    private static void ForTiles(DualGeometry geometry, int threads, Action<int> body) =>
        Parallel.For(0, geometry.Tiles, new ParallelOptions { MaxDegreeOfParallelism = threads > 0 ? threads : Environment.ProcessorCount }, body);
}
