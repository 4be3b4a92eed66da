namespace OrtQuant.Schemes.Group;

/// <summary>
/// The grid of scheme <c>group</c>: a scale and a zero point for each group, a code for each weight. Codes are kept one byte
/// each, in _tiles of 16 rows whose rows are padded with zeros to whole chunks, so that packing needs no tails.
/// </summary>
internal sealed class GroupGrid : IAffineGrid
{
    private readonly GroupGeometry _geometry;
    private readonly CodeBlocks _tiles;
    private readonly float[] _scales;
    private readonly float[] _zeroPoints;

    /// <summary>An empty grid.</summary>
    /// <param name="geometry">Sizes.</param>
    /// <param name="parameters">Parameters of another scheme that holds its weights in this format; null for those of the geometry.</param>
    public GroupGrid(GroupGeometry geometry, SchemeParameters? parameters = null)
    {
        _geometry = geometry;
        Parameters = parameters ?? geometry.Parameters;
        RowStride = _geometry.Chunks * GroupGeometry.ChunkSize;
        _tiles = new CodeBlocks(geometry.Tiles, GroupGeometry.TileRows * RowStride);
        _scales = new float[checked(_geometry.Shape.N * _geometry.Groups)];
        _zeroPoints = new float[_scales.Length];
        if (_geometry.Parameters.ZeroPoint == ZeroPointKind.None)
        {
            Array.Fill(_zeroPoints, _geometry.ImplicitZeroPoint);
        }
    }

    public WeightShape Shape => _geometry.Shape;

    public SchemeParameters Parameters { get; }

    public int GroupSize => _geometry.GroupSize;

    public int GroupCount => _geometry.Groups;

    public int RowBlock => 1;

    public int MaxCode => _geometry.MaxCode;

    /// <summary>Bytes from one row of a tile to the next.</summary>
    public int RowStride { get; }

    public GroupGeometry Geometry => _geometry;

    /// <summary>Codes of a tile, <c>[16, RowStride]</c>.</summary>
    public Span<byte> Tile(int t) => _tiles.Tile(t);

    /// <summary>Scales of a row, <c>[G]</c>.</summary>
    public Span<float> Scales(long n) => _scales.AsSpan((int)(n * _geometry.Groups), _geometry.Groups);

    /// <summary>Zero points of a row, <c>[G]</c>.</summary>
    public Span<float> ZeroPoints(long n) => _zeroPoints.AsSpan((int)(n * _geometry.Groups), _geometry.Groups);

    public Span<byte> Codes(long n) =>
        _tiles.Tile((int)(n / GroupGeometry.TileRows)).Slice((int)(n % GroupGeometry.TileRows) * RowStride, (int)Shape.K);

    public void FitRows(long n0, int count, ReadOnlySpan<float> values, ReadOnlySpan<float> importance)
    {
        var k = (int)Shape.K;
        CheckRows(n0, count);
        CheckLength(values.Length, (long)count * k, nameof(values));
        for (var i = 0; i < count; i++)
        {
            var row = values.Slice(i * k, k);
            for (var g = 0; g < _geometry.Groups; g++)
            {
                var start = g * _geometry.GroupSize;
                var length = _geometry.GroupLength(g);
                Fit(n0 + i, g, row.Slice(start, length), importance.IsEmpty ? importance : importance.Slice(start, length));
            }
        }
    }

    public void Fit(long n, int g, ReadOnlySpan<float> values, ReadOnlySpan<float> importance)
    {
        CheckLength(values.Length, _geometry.GroupLength(g), nameof(values));
        try
        {
            (Scales(n)[g], ZeroPoints(n)[g]) = importance.IsEmpty
                ? GroupFit.Range(values, _geometry.Parameters)
                : GroupFit.Weighted(values, importance, _geometry.Parameters);
        }
        catch (GroupFit.UnrepresentableException cause)
        {
            throw new OrtQuantException($"row {n}, group {g}: {cause.Message}");
        }
    }

    public void Round(long n, int k, ReadOnlySpan<float> values, Span<float> dequantized)
    {
        var codes = Codes(n).Slice(k, values.Length);
        var rowScales = Scales(n);
        var rowZeroPoints = ZeroPoints(n);
        for (var done = 0; done < values.Length;)
        {
            var g = (k + done) / _geometry.GroupSize;
            var length = Math.Min(values.Length - done, ((g + 1) * _geometry.GroupSize) - k - done);
            var part = values.Slice(done, length);
            if (!GroupRound.Round(part, rowScales[g], rowZeroPoints[g], MaxCode, codes.Slice(done, length)))
            {
                throw new OrtQuantException($"row {n}, group {g}: a value is NaN or infinite; weights must be finite");
            }

            if (!dequantized.IsEmpty)
            {
                GroupRound.Dequantize(codes.Slice(done, length), rowScales[g], rowZeroPoints[g], dequantized.Slice(done, length));
            }

            done += length;
        }
    }

    public void Dequantize(long n, Span<float> row)
    {
        CheckLength(row.Length, Shape.K, nameof(row));
        var codes = Codes(n);
        for (var g = 0; g < _geometry.Groups; g++)
        {
            var start = g * _geometry.GroupSize;
            var length = _geometry.GroupLength(g);
            GroupRound.Dequantize(codes.Slice(start, length), Scales(n)[g], ZeroPoints(n)[g], row.Slice(start, length));
        }
    }

    public void SetGroup(long n, int g, float scale, float zeroPoint)
    {
        var parameters = _geometry.Parameters;
        Scales(n)[g] = Stored(scale, "scale", n, g);
        ZeroPoints(n)[g] = parameters.ZeroPoint switch
        {
            ZeroPointKind.None => _geometry.ImplicitZeroPoint,
            ZeroPointKind.Integer => GroupFit.IntegerZeroPoint(zeroPoint, MaxCode),
            _ => Stored(zeroPoint, "zero point", n, g),
        };
    }

    public (float Scale, float ZeroPoint) GetGroup(long n, int g) => (Scales(n)[g], ZeroPoints(n)[g]);

    public void Dispose() => _tiles.Dispose();

    private float Stored(float value, string what, long n, int g)
    {
        var stored = GroupFit.Store(value, _geometry.Parameters.ScaleType);
        return float.IsFinite(stored)
            ? stored
            : throw new OrtQuantException($"row {n}, group {g}: {what} is {value}; it must be finite as {_geometry.Parameters.ScaleType}");
    }

    private void CheckRows(long n0, int count)
    {
        if (n0 < 0 || count < 0 || n0 + count > Shape.N)
        {
            throw new ArgumentOutOfRangeException(nameof(n0), $"rows {n0} to {n0 + count - 1} of a weight of shape {Shape}");
        }
    }

    private static void CheckLength(long actual, long required, string name)
    {
        if (actual != required)
        {
            throw new ArgumentException($"length is {actual}; it must be {required}", name);
        }
    }
}
