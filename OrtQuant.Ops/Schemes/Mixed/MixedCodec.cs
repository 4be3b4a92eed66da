using System.Buffers.Binary;

namespace OrtQuant.Schemes.Mixed;

/// <summary>Between a <see cref="MixedGrid"/> and the bytes of SPEC.md, tile by tile; tiles share no byte, so they go in parallel.</summary>
internal static class MixedCodec
{
    private const int Rows = MixedGeometry.TileRows;
    private const int Codes = 0, Scales = 1, GroupScales = 2, Optional = 3;

    public static void Encode(MixedGrid grid, IReadOnlyList<Memory<byte>> tensors, int threads) =>
        ForTiles(grid.Geometry, threads, t => EncodeTile(grid, t, tensors));

    public static MixedGrid Read(MixedGeometry geometry, IReadOnlyList<ReadOnlyMemory<byte>> tensors, int threads)
    {
        var grid = new MixedGrid(geometry);
        ForTiles(geometry, threads, t => ReadTile(grid, t, t, tensors));
        return grid;
    }

    public static void DecodeRows(MixedGeometry geometry, IReadOnlyList<ReadOnlyMemory<byte>> tensors, long n0, int count, Span<float> rows)
    {
        // One tile at a time, in a grid of its own.
        var k = (int)geometry.Shape.K;
        using var tile = new MixedGrid(new MixedGeometry(new WeightShape(Rows, k), geometry.Parameters));
        for (var i = 0; i < count; i++)
        {
            var n = (int)n0 + i;
            if (i == 0 || n % Rows == 0) ReadTile(tile, 0, n / Rows, tensors);
            tile.Dequantize(n % Rows, rows.Slice(i * k, k));
        }
    }

    private static void EncodeTile(MixedGrid grid, int t, IReadOnlyList<Memory<byte>> tensors)
    {
        var geometry = grid.Geometry;
        var vectors = TileOf(tensors[Codes].Span, t, geometry.Tiles);
        var codes = grid.Tile(t);
        var refined = grid.Refined(t);
        var (depth, next) = (MixedGeometry.VectorDepth, geometry.Vectors);
        for (var v = 0; v < geometry.Vectors; v++)
        {
            var isRefined = refined[v * depth / geometry.GroupSize];
            MixedPacking.Pack(codes[(v * depth)..], grid.RowStride, isRefined ? 2 : 0, Vector(vectors, v));
        }

        vectors[(geometry.Vectors * MixedGeometry.VectorBytes)..].Clear();
        for (var g = 0; g < geometry.Groups; g++)
        {
            if (!refined[g]) continue;
            var first = g * geometry.GroupVectors;
            for (var v = first; v < Math.Min(geometry.Vectors, first + geometry.GroupVectors); v++)
            {
                MixedPacking.Pack(codes[(v * depth)..], grid.RowStride, 0, Vector(vectors, next + v - first));
            }

            next += geometry.GroupVectors;
        }

        EncodeParameters(grid, t, tensors);
        if (geometry.Refined == 0) return;
        var map = TileOf(tensors[Optional].Span, t, geometry.Tiles);
        map.Clear();
        for (var g = 0; g < geometry.Groups; g++) map[g / 8] |= (byte)((refined[g] ? 1 : 0) << (g % 8));
    }

    private static void EncodeParameters(MixedGrid grid, int t, IReadOnlyList<Memory<byte>> tensors)
    {
        var geometry = grid.Geometry;
        foreach (var tensor in tensors.Skip(Scales).Where((_, i) => i != Optional - Scales || geometry.Refined == 0)) TileOf(tensor.Span, t, geometry.Tiles).Clear();
        var scales = TileOf(tensors[Scales].Span, t, geometry.Tiles);
        var groups = TileOf(tensors[GroupScales].Span, t, geometry.Tiles);
        for (var n = t * Rows; n < RowEnd(geometry, t); n++)
        {
            var lane = n % Rows;
            for (var c = 0; c < geometry.Blocks; c++) BinaryPrimitives.WriteHalfLittleEndian(scales[(2 * ((c * Rows) + lane))..], (Half)grid.Scales(n)[c]);
            for (var g = 0; g < geometry.Groups; g++) groups[(g * Rows) + lane] = grid.Groups(n)[g];
            for (var slot = 0; slot < geometry.Blocks * geometry.Outliers; slot++)
            {
                if (grid.Positions(n)[slot] == MixedGrid.Unused) continue;
                TileOf(tensors[^2].Span, t, geometry.Tiles)[(slot * Rows) + lane] = (byte)grid.Positions(n)[slot];
                BinaryPrimitives.WriteInt16LittleEndian(TileOf(tensors[^1].Span, t, geometry.Tiles)[(2 * ((slot * Rows) + lane))..], grid.Outliers(n)[slot]);
            }
        }
    }

    // Stored tile `source` into tile `t` of a grid.
    private static void ReadTile(MixedGrid grid, int t, int source, IReadOnlyList<ReadOnlyMemory<byte>> tensors)
    {
        var geometry = grid.Geometry;
        var vectors = Stored(tensors[Codes], source, geometry.TileVectors * MixedGeometry.VectorBytes);
        var codes = grid.Tile(t);
        codes.Clear();
        var refined = grid.Refined(t);
        refined.Clear();
        if (geometry.Refined > 0) ReadMap(Stored(tensors[Optional], source, geometry.MapBytes), geometry.Refined, refined);
        var (depth, next) = (MixedGeometry.VectorDepth, geometry.Vectors);
        for (var v = 0; v < geometry.Vectors; v++)
        {
            var isRefined = refined[v * depth / geometry.GroupSize];
            MixedPacking.Unpack(Vector(vectors, v), grid.RowStride, isRefined ? 2 : 0, codes[(v * depth)..]);
        }

        for (var g = 0; g < geometry.Groups; g++)
        {
            if (!refined[g]) continue;
            var first = g * geometry.GroupVectors;
            for (var v = first; v < Math.Min(geometry.Vectors, first + geometry.GroupVectors); v++)
            {
                MixedPacking.Unpack(Vector(vectors, next + v - first), grid.RowStride, 0, codes[(v * depth)..]);
            }

            next += geometry.GroupVectors;
        }

        for (var n = t * Rows; n < RowEnd(geometry, t); n++) ReadRow(grid, n, source, tensors);
    }

    private static void ReadRow(MixedGrid grid, int n, int source, IReadOnlyList<ReadOnlyMemory<byte>> tensors)
    {
        var geometry = grid.Geometry;
        var lane = n % Rows;
        var scales = Stored(tensors[Scales], source, 2 * geometry.Blocks * Rows);
        var groups = Stored(tensors[GroupScales], source, geometry.Groups * Rows);
        for (var c = 0; c < geometry.Blocks; c++) grid.Scales(n)[c] = (float)BinaryPrimitives.ReadHalfLittleEndian(scales[(2 * ((c * Rows) + lane))..]);
        for (var g = 0; g < geometry.Groups; g++) grid.Groups(n)[g] = groups[(g * Rows) + lane];
        var slots = geometry.Blocks * geometry.Outliers;
        if (slots == 0) return;
        var positions = Stored(tensors[^2], source, slots * Rows);
        var values = Stored(tensors[^1], source, 2 * slots * Rows);
        for (var slot = 0; slot < slots; slot++)
        {
            grid.Positions(n)[slot] = positions[(slot * Rows) + lane];
            grid.Outliers(n)[slot] = BinaryPrimitives.ReadInt16LittleEndian(values[(2 * ((slot * Rows) + lane))..]);
        }
    }

    // The first bits that are set count, so that any bytes mean something.
    private static void ReadMap(ReadOnlySpan<byte> map, int count, Span<bool> refined)
    {
        for (var g = 0; g < refined.Length; g++)
        {
            refined[g] = count > 0 && ((map[g / 8] >> (g % 8)) & 1) != 0;
            if (refined[g]) count--;
        }
    }

    private static int RowEnd(MixedGeometry geometry, int t) => (int)Math.Min(geometry.Shape.N, (t + 1L) * Rows);

    private static Span<byte> Vector(Span<byte> vectors, int v) => vectors.Slice(v * MixedGeometry.VectorBytes, MixedGeometry.VectorBytes);

    private static ReadOnlySpan<byte> Vector(ReadOnlySpan<byte> vectors, int v) => vectors.Slice(v * MixedGeometry.VectorBytes, MixedGeometry.VectorBytes);

    private static Span<byte> TileOf(Span<byte> tensor, int t, int tiles) => tensor.Slice(tensor.Length / tiles * t, tensor.Length / tiles);

    private static ReadOnlySpan<byte> Stored(ReadOnlyMemory<byte> tensor, int t, int bytes) => tensor.Span.Slice(t * bytes, bytes);

    private static void ForTiles(MixedGeometry geometry, int threads, Action<int> body) =>
        Parallel.For(0, geometry.Tiles, new ParallelOptions { MaxDegreeOfParallelism = threads > 0 ? threads : Environment.ProcessorCount }, body);
}
