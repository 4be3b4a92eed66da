using System.Buffers;
using System.Numerics.Tensors;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes.Dual;

/// <summary>
/// The grid of scheme <c>dual</c>: a scale for each row, an integer scale and zero point for each group, a code for each weight. Codes are kept one byte
/// each, in tiles of 16 rows whose rows are padded with zeros to whole chunks, so that packing needs no tails.
/// </summary>
internal sealed class DualGrid : IRowScaledGrid
{
    private readonly CodeBlocks _tiles;
    private readonly float[] _rowScales;
    private readonly byte[] _groupScales;
    private readonly sbyte[] _zeroPoints;

    public DualGrid(DualGeometry geometry)
    {
        Geometry = geometry;
        RowStride = geometry.Chunks * DualGeometry.ChunkSize;
        _tiles = new CodeBlocks(geometry.Tiles, DualGeometry.TileRows * RowStride);
        _rowScales = new float[geometry.Shape.N];
        _groupScales = new byte[checked(geometry.Shape.N * geometry.Groups)];
        _zeroPoints = new sbyte[_groupScales.Length];
        Array.Fill(_groupScales, (byte)1);
    }

    public DualGeometry Geometry { get; }

    public WeightShape Shape => Geometry.Shape;

    public SchemeParameters Parameters => Geometry.Parameters;

    public int GroupSize => Geometry.GroupSize;

    public int GroupCount => Geometry.Groups;

    public int RowBlock => 1;

    public int MaxCode => DualGeometry.MaxCode;

    /// <summary>Bytes from one row of a tile to the next.</summary>
    public int RowStride { get; }

    /// <summary>Scales of all rows, <c>[N]</c>.</summary>
    public Span<float> RowScales => _rowScales;

    /// <summary>Codes of a tile, <c>[16, RowStride]</c>.</summary>
    public Span<byte> Tile(int t) => _tiles.Tile(t);

    /// <summary>Integer scales of a row, <c>[G]</c>.</summary>
    public Span<byte> GroupScales(long n) => _groupScales.AsSpan((int)(n * Geometry.Groups), Geometry.Groups);

    /// <summary>Zero points of a row, <c>[G]</c>.</summary>
    public Span<sbyte> ZeroPoints(long n) => _zeroPoints.AsSpan((int)(n * Geometry.Groups), Geometry.Groups);

    public Span<byte> Codes(long n) =>
        _tiles.Tile((int)(n / DualGeometry.TileRows)).Slice((int)(n % DualGeometry.TileRows) * RowStride, (int)Shape.K);

    public void FitRows(long n0, int count, ReadOnlySpan<float> values, ReadOnlySpan<float> importance)
    {
        var k = (int)Shape.K;
        if (n0 < 0 || count < 0 || n0 + count > Shape.N)
        {
            throw new ArgumentOutOfRangeException(nameof(n0), $"rows {n0} to {n0 + count - 1} of a weight of shape {Shape}");
        }

        CheckLength(values.Length, (long)count * k, nameof(values));
        if (!importance.IsEmpty) CheckLength(importance.Length, k, nameof(importance));
        for (var i = 0; i < count; i++) FitRow(n0 + i, values.Slice(i * k, k), importance);
    }

    public void Fit(long n, int g, ReadOnlySpan<float> values, ReadOnlySpan<float> importance)
    {
        CheckLength(values.Length, Geometry.GroupLength(g), nameof(values));
        Span<float> scaled = stackalloc float[values.Length];
        DualRound.Scale(values, _rowScales[n], scaled);
        if (!TensorPrimitives.IsFiniteAll<float>(values)) throw NotFinite(n, g);
        (GroupScales(n)[g], ZeroPoints(n)[g]) = DualFit.Group(scaled, importance, out _);
    }

    public void Round(long n, int k, ReadOnlySpan<float> values, Span<float> dequantized)
    {
        var codes = Codes(n).Slice(k, values.Length);
        var scales = GroupScales(n);
        var zeroPoints = ZeroPoints(n);
        for (var done = 0; done < values.Length;)
        {
            var g = (k + done) / GroupSize;
            var length = Math.Min(values.Length - done, ((g + 1) * GroupSize) - k - done);
            if (!DualRound.Round(values.Slice(done, length), _rowScales[n], scales[g], zeroPoints[g], codes.Slice(done, length))) throw NotFinite(n, g);

            if (!dequantized.IsEmpty)
            {
                DualRound.Dequantize(codes.Slice(done, length), _rowScales[n], scales[g], zeroPoints[g], dequantized.Slice(done, length));
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
            DualRound.Dequantize(codes.Slice(start, length), _rowScales[n], GroupScales(n)[g], ZeroPoints(n)[g], row.Slice(start, length));
        }
    }

    public void SetRowScale(long n, float scale) =>
        _rowScales[n] = float.IsFinite(scale) && scale >= 0
            ? scale
            : throw new OrtQuantException($"row {n}: scale is {scale}; it must be finite and not negative");

    public float GetRowScale(long n) => _rowScales[n];

    public void SetGroup(long n, int g, float scale, float zeroPoint)
    {
        if (!float.IsFinite(scale) || !float.IsFinite(zeroPoint))
        {
            throw new OrtQuantException($"row {n}, group {g}: scale and zero point are {scale} and {zeroPoint}; they must be finite");
        }

        var stored = _rowScales[n] == 0 ? 1 : (int)Math.Clamp(MathF.Round(scale / _rowScales[n]), 1, DualFit.MaxGroupScale);
        GroupScales(n)[g] = (byte)stored;
        ZeroPoints(n)[g] = (sbyte)DualFit.ClampZeroPoint(zeroPoint * stored, stored);
    }

    public (float Scale, float ZeroPoint) GetGroup(long n, int g) =>
        (_rowScales[n] * GroupScales(n)[g], ZeroPoints(n)[g] / (float)GroupScales(n)[g]);

    public void Dispose() => _tiles.Dispose();

    // Two phases: the scale of the row (with weights of the errors: the best of a few), then for each group its best integers under that scale.
    private void FitRow(long n, ReadOnlySpan<float> row, ReadOnlySpan<float> importance)
    {
        var largest = MathF.Abs(TensorPrimitives.MaxMagnitude(row));
        if (!float.IsFinite(largest))
        {
            var k = 0;
            while (float.IsFinite(row[k])) k++;
            throw NotFinite(n, k / GroupSize);
        }

        var buffer = ArrayPool<float>.Shared.Rent(row.Length);
        try
        {
            var leastError = double.PositiveInfinity;
            var best = 0f;
            var clips = importance.IsEmpty ? DualFit.Clips[..1] : DualFit.Clips;
            foreach (var clip in clips)
            {
                var scale = DualFit.RowScale(largest * clip);
                var error = FitGroups(n, row, importance, scale, buffer) * scale * scale;
                if (error < leastError || best == 0) (leastError, best) = (error, scale);
            }

            if (clips.Length > 1 && best != _rowScales[n]) FitGroups(n, row, importance, best, buffer);
        }
        catch (DualFit.UnrepresentableException cause)
        {
            throw new OrtQuantException($"row {n}: {cause.Message}");
        }
        finally
        {
            ArrayPool<float>.Shared.Return(buffer);
        }
    }

    private double FitGroups(long n, ReadOnlySpan<float> row, ReadOnlySpan<float> importance, float rowScale, Span<float> scaled)
    {
        _rowScales[n] = rowScale;
        DualRound.Scale(row, rowScale, scaled);
        double total = 0;
        for (var g = 0; g < GroupCount; g++)
        {
            var (start, length) = (g * GroupSize, Geometry.GroupLength(g));
            var weights = importance.IsEmpty ? importance : importance.Slice(start, length);
            (GroupScales(n)[g], ZeroPoints(n)[g]) = DualFit.Group(scaled.Slice(start, length), weights, out var error);
            total += error;
        }

        return total;
    }

    private static OrtQuantException NotFinite(long n, int g) => new($"row {n}, group {g}: a value is NaN or infinite; weights must be finite");

    private static void CheckLength(long actual, long required, string name)
    {
        if (actual != required) throw new ArgumentException($"length is {actual}; it must be {required}", name);
    }
}
