using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes.Lut;

/// <summary>
/// What both grids of scheme <c>lut</c> share: coefficients and an offset (or a zero point) for each group, a code for each weight. Codes are kept one byte each, in tiles of 16
/// rows whose rows are padded with zeros to whole chunks, so that packing needs no tails.
/// </summary>
internal abstract class LutGrid : IWeightGrid
{
    private readonly CodeBlocks _tiles;
    private readonly float[] _coefficients;
    private readonly float[] _offsets;

    protected LutGrid(LutGeometry geometry)
    {
        Geometry = geometry;
        RowStride = geometry.Chunks * LutGeometry.ChunkSize;
        _tiles = new CodeBlocks(geometry.Tiles, LutGeometry.TileRows * RowStride);
        _offsets = new float[checked(geometry.Shape.N * geometry.Groups)];
        _coefficients = new float[checked((long)_offsets.Length * geometry.Coefficients)];
    }

    public LutGeometry Geometry { get; }

    public WeightShape Shape => Geometry.Shape;

    public SchemeParameters Parameters => Geometry.Parameters;

    public int GroupSize => Geometry.GroupSize;

    public int GroupCount => Geometry.Groups;

    public int RowBlock => 1;

    public int MaxCode => (1 << Geometry.Parameters.Bits) - 1;

    /// <summary>Bytes from one row of a tile to the next.</summary>
    public int RowStride { get; }

    /// <summary>Codes of a tile, <c>[16, RowStride]</c>.</summary>
    public Span<byte> Tile(int t) => _tiles.Tile(t);

    /// <summary>Coefficients (alphas, or the scale) of a row, <c>[G, A]</c>.</summary>
    public Span<float> Coefficients(long n) => _coefficients.AsSpan((int)(n * Geometry.Groups) * Geometry.Coefficients, Geometry.Groups * Geometry.Coefficients);

    /// <summary>Offsets (or zero points) of a row, <c>[G]</c>.</summary>
    public Span<float> Offsets(long n) => _offsets.AsSpan((int)(n * Geometry.Groups), Geometry.Groups);

    public Span<byte> Codes(long n) =>
        _tiles.Tile((int)(n / LutGeometry.TileRows)).Slice((int)(n % LutGeometry.TileRows) * RowStride, (int)Shape.K);

    public void FitRows(long n0, int count, ReadOnlySpan<float> values, ReadOnlySpan<float> importance)
    {
        var k = (int)Shape.K;
        if (n0 < 0 || count < 0 || n0 + count > Shape.N)
        {
            throw new ArgumentOutOfRangeException(nameof(n0), $"rows {n0} to {n0 + count - 1} of a weight of shape {Shape}");
        }

        CheckLength(values.Length, (long)count * k, nameof(values));
        for (var i = 0; i < count; i++)
        {
            for (var g = 0; g < GroupCount; g++)
            {
                var (start, length) = (g * GroupSize, Geometry.GroupLength(g));
                Fit(n0 + i, g, values.Slice((i * k) + start, length), importance.IsEmpty ? importance : importance.Slice(start, length));
            }
        }
    }

    public void Fit(long n, int g, ReadOnlySpan<float> values, ReadOnlySpan<float> importance)
    {
        CheckLength(values.Length, Geometry.GroupLength(g), nameof(values));
        try
        {
            FitGroup(n, g, values, importance);
        }
        catch (GroupFit.UnrepresentableException cause)
        {
            throw new OrtQuantException($"row {n}, group {g}: {cause.Message}");
        }
    }

    public void Round(long n, int k, ReadOnlySpan<float> values, Span<float> dequantized)
    {
        var codes = Codes(n).Slice(k, values.Length);
        for (var done = 0; done < values.Length;)
        {
            var g = (k + done) / GroupSize;
            var length = Math.Min(values.Length - done, ((g + 1) * GroupSize) - k - done);
            if (!RoundGroup(n, g, values.Slice(done, length), codes.Slice(done, length)))
            {
                throw new OrtQuantException($"row {n}, group {g}: a value is NaN or infinite; weights must be finite");
            }

            if (!dequantized.IsEmpty)
            {
                Dequantize(Geometry.Parameters, codes.Slice(done, length), CoefficientsOf(n, g), Offsets(n)[g], dequantized.Slice(done, length));
            }

            done += length;
        }
    }

    public void Dequantize(long n, Span<float> row)
    {
        CheckLength(row.Length, Shape.K, nameof(row));
        var codes = Codes(n);
        for (var g = 0; g < GroupCount; g++)
        {
            var (start, length) = (g * GroupSize, Geometry.GroupLength(g));
            Dequantize(Geometry.Parameters, codes.Slice(start, length), CoefficientsOf(n, g), Offsets(n)[g], row.Slice(start, length));
        }
    }

    public void Dispose() => _tiles.Dispose();

    /// <summary>What codes of one group stand for.</summary>
    public static void Dequantize(LutParameters parameters, ReadOnlySpan<byte> codes, ReadOnlySpan<float> coefficients, float offset, Span<float> values)
    {
        if (parameters.Levels == LutLevels.Uniform)
        {
            GroupRound.Dequantize(codes, coefficients[0], offset, values);
            return;
        }

        Span<float> levels = stackalloc float[1 << LutGeometry.MaxBits];
        BinaryCoding.Levels(coefficients, offset, levels);
        for (var i = 0; i < codes.Length; i++) values[i] = levels[codes[i]];
    }

    protected Span<float> CoefficientsOf(long n, int g) => Coefficients(n).Slice(g * Geometry.Coefficients, Geometry.Coefficients);

    protected abstract void FitGroup(long n, int g, ReadOnlySpan<float> values, ReadOnlySpan<float> importance);

    protected abstract bool RoundGroup(long n, int g, ReadOnlySpan<float> values, Span<byte> codes);

    protected float Stored(float value, string what, long n, int g)
    {
        var stored = GroupFit.Store(value, Geometry.Parameters.ScaleType);
        return float.IsFinite(stored)
            ? stored
            : throw new OrtQuantException($"row {n}, group {g}: {what} is {value}; it must be finite as {Geometry.Parameters.ScaleType}");
    }

    private static void CheckLength(long actual, long required, string name)
    {
        if (actual != required) throw new ArgumentException($"length is {actual}; it must be {required}", name);
    }
}
