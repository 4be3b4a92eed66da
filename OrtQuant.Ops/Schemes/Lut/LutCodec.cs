using System.Buffers;
using System.Buffers.Binary;
using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Lut;

/// <summary>Between a <see cref="LutGrid"/> and the bytes of SPEC.md, tile by tile; tiles share no byte, so they go in parallel.</summary>
internal static class LutCodec
{
    private const int Rows = LutGeometry.TileRows;
    private const int Codes = 0, Scales = 1, ZeroPoints = 2;

    public static void Encode(LutGrid grid, IReadOnlyList<Memory<byte>> tensors, int threads) =>
        ForTiles(grid.Geometry, threads, t => EncodeTile(grid, t, tensors));

    public static void Read(LutGrid grid, IReadOnlyList<ReadOnlyMemory<byte>> tensors, int threads)
    {
        var geometry = grid.Geometry;
        ForTiles(geometry, threads, t =>
        {
            LutPacking.Unpack(TileOf(tensors[Codes].Span, t, geometry), grid.RowStride, geometry.Parameters.Bits, grid.Tile(t));
            for (var n = t * Rows; n < RowEnd(geometry, t); n++) ReadGroups(geometry, tensors, n, grid.Coefficients(n), grid.Offsets(n));
        });
    }

    public static void DecodeRows(LutGeometry geometry, IReadOnlyList<ReadOnlyMemory<byte>> tensors, long n0, int count, Span<float> rows)
    {
        var k = (int)geometry.Shape.K;
        var stride = geometry.Chunks * LutGeometry.ChunkSize;
        var codes = ArrayPool<byte>.Shared.Rent(Rows * stride);
        var perGroup = geometry.Coefficients;
        var parameters = ArrayPool<float>.Shared.Rent((perGroup + 1) * geometry.Groups);
        var coefficients = parameters.AsSpan(0, perGroup * geometry.Groups);
        var offsets = parameters.AsSpan(coefficients.Length, geometry.Groups);
        var tile = -1;
        for (var i = 0; i < count; i++)
        {
            var n = (int)n0 + i;
            if (n / Rows != tile)
            {
                tile = n / Rows;
                LutPacking.Unpack(TileOf(tensors[Codes].Span, tile, geometry), stride, geometry.Parameters.Bits, codes.AsSpan(0, Rows * stride));
            }

            ReadGroups(geometry, tensors, n, coefficients, offsets);
            for (var g = 0; g < geometry.Groups; g++)
            {
                var (start, length) = (g * geometry.GroupSize, geometry.GroupLength(g));
                LutGrid.Dequantize(
                    geometry.Parameters, codes.AsSpan((n % Rows * stride) + start, length), coefficients.Slice(g * perGroup, perGroup), offsets[g], rows.Slice((i * k) + start, length));
            }
        }

        ArrayPool<byte>.Shared.Return(codes);
        ArrayPool<float>.Shared.Return(parameters);
    }

    private static void EncodeTile(LutGrid grid, int t, IReadOnlyList<Memory<byte>> tensors)
    {
        var geometry = grid.Geometry;
        var parameters = geometry.Parameters;
        LutPacking.Pack(grid.Tile(t), grid.RowStride, parameters.Bits, tensors[Codes].Span.Slice((int)(t * geometry.TileBytes), (int)geometry.TileBytes));
        var scales = Share(tensors[Scales].Span, t, geometry);
        var zeroPoints = Share(tensors[ZeroPoints].Span, t, geometry);
        scales.Clear();
        zeroPoints.Clear();
        for (var n = t * Rows; n < RowEnd(geometry, t); n++)
        {
            Write(grid.Coefficients(n), scales, n % Rows, parameters.ScaleType);
            Write(grid.Offsets(n), zeroPoints, n % Rows, parameters.IntegerZeroPoints ? ElementType.UInt8 : parameters.ScaleType);
        }
    }

    private static void ReadGroups(LutGeometry geometry, IReadOnlyList<ReadOnlyMemory<byte>> tensors, int n, Span<float> coefficients, Span<float> offsets)
    {
        var parameters = geometry.Parameters;
        Read(Share(tensors[Scales].Span, n / Rows, geometry), n % Rows, parameters.ScaleType, coefficients);
        Read(Share(tensors[ZeroPoints].Span, n / Rows, geometry), n % Rows, parameters.IntegerZeroPoints ? ElementType.UInt8 : parameters.ScaleType, offsets);
    }

    private static void Write(ReadOnlySpan<float> values, Span<byte> tile, int lane, ElementType type)
    {
        for (var i = 0; i < values.Length; i++)
        {
            var index = (i * Rows) + lane;
            if (type == ElementType.UInt8) tile[index] = (byte)values[i];
            else if (type == ElementType.Float16) BinaryPrimitives.WriteHalfLittleEndian(tile[(2 * index)..], (Half)values[i]);
            else BinaryPrimitives.WriteSingleLittleEndian(tile[(4 * index)..], values[i]);
        }
    }

    private static void Read(ReadOnlySpan<byte> tile, int lane, ElementType type, Span<float> values)
    {
        for (var i = 0; i < values.Length; i++)
        {
            var index = (i * Rows) + lane;
            values[i] = type switch
            {
                ElementType.UInt8 => tile[index],
                ElementType.Float16 => (float)BinaryPrimitives.ReadHalfLittleEndian(tile[(2 * index)..]),
                _ => BinaryPrimitives.ReadSingleLittleEndian(tile[(4 * index)..]),
            };
        }
    }

    private static int RowEnd(LutGeometry geometry, int t) => (int)Math.Min(geometry.Shape.N, (t + 1L) * Rows);

    private static ReadOnlySpan<byte> TileOf(ReadOnlySpan<byte> tensor, int t, LutGeometry geometry) =>
        tensor.Slice((int)(t * geometry.TileBytes), (int)geometry.TileBytes);

    private static Span<byte> Share(Span<byte> tensor, int t, LutGeometry geometry) => tensor.Slice(t * (tensor.Length / geometry.Tiles), tensor.Length / geometry.Tiles);

    private static ReadOnlySpan<byte> Share(ReadOnlySpan<byte> tensor, int t, LutGeometry geometry) => tensor.Slice(t * (tensor.Length / geometry.Tiles), tensor.Length / geometry.Tiles);

    private static void ForTiles(LutGeometry geometry, int threads, Action<int> body) =>
        Parallel.For(0, geometry.Tiles, new ParallelOptions { MaxDegreeOfParallelism = threads > 0 ? threads : Environment.ProcessorCount }, body);
}
