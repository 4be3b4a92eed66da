using System.Buffers;
using System.Numerics.Tensors;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes.Mixed;

/// <summary>
/// The grid of scheme <c>mixed</c>. Rows go in tiles of 16, which share the choice of the groups with 4 bits. Codes are kept one byte each, of the width that
/// their group has, rows padded with zeros to whole vectors.
/// </summary>
internal sealed class MixedGrid : ISparseGrid
{
    /// <summary>The place of an outlier that is not used.</summary>
    public const short Unused = -1;

    private const int Rows = MixedGeometry.TileRows;
    private readonly CodeBlocks _tiles;
    private readonly float[] _scales;
    private readonly byte[] _groups;
    private readonly bool[] _refined;
    private readonly short[] _positions;
    private readonly short[] _outliers;

    public MixedGrid(MixedGeometry geometry)
    {
        Geometry = geometry;
        RowStride = geometry.Vectors * MixedGeometry.VectorDepth;
        _tiles = new CodeBlocks(geometry.Tiles, Rows * RowStride);
        _scales = new float[checked(geometry.Shape.N * geometry.Blocks)];
        _groups = new byte[checked(geometry.Shape.N * geometry.Groups)];
        _refined = new bool[(long)geometry.Tiles * geometry.Groups];
        _positions = new short[_scales.Length * geometry.Outliers];
        _outliers = new short[_positions.Length];
        Array.Fill(_positions, Unused);
        for (var t = 0; t < geometry.Tiles; t++) Refined(t)[..geometry.Refined].Fill(true);
    }

    public MixedGeometry Geometry { get; }

    public WeightShape Shape => Geometry.Shape;

    public SchemeParameters Parameters => Geometry.Parameters;

    public int GroupSize => Geometry.GroupSize;

    public int GroupCount => Geometry.Groups;

    public int RowBlock => Rows;

    public int MaxCode => MixedGroup.MaxCodeOf(true);

    /// <summary>Bytes from one row of a tile to the next.</summary>
    public int RowStride { get; }

    /// <summary>Codes of a tile, <c>[16, RowStride]</c>.</summary>
    public Span<byte> Tile(int t) => _tiles.Tile(t);

    /// <summary>Which groups of a tile have 4 bits, <c>[G]</c>: always as many as <see cref="MixedGeometry.Refined"/>.</summary>
    public Span<bool> Refined(int t) => _refined.AsSpan(t * Geometry.Groups, Geometry.Groups);

    /// <summary>Scales of the blocks of a row, <c>[C]</c>, each a float16.</summary>
    public Span<float> Scales(long n) => _scales.AsSpan((int)(n * Geometry.Blocks), Geometry.Blocks);

    /// <summary>Scales (low nibble) and zero points of the groups of a row, <c>[G]</c>.</summary>
    public Span<byte> Groups(long n) => _groups.AsSpan((int)(n * Geometry.Groups), Geometry.Groups);

    /// <summary>Positions of the outliers of a row within their blocks, <c>[C, P]</c>; <see cref="Unused"/> for none.</summary>
    public Span<short> Positions(long n) => _positions.AsSpan((int)(n * Geometry.Blocks * Geometry.Outliers), Geometry.Blocks * Geometry.Outliers);

    /// <summary>Outliers of a row in units of their block's scale, <c>[C, P]</c>.</summary>
    public Span<short> Outliers(long n) => _outliers.AsSpan((int)(n * Geometry.Blocks * Geometry.Outliers), Geometry.Blocks * Geometry.Outliers);

    public int MaxCodeOf(long n, int g) => MixedGroup.MaxCodeOf(IsRefined(n, g));

    public Span<byte> Codes(long n) => _tiles.Tile((int)(n / Rows)).Slice((int)(n % Rows) * RowStride, (int)Shape.K);

    public void FitRows(long n0, int count, ReadOnlySpan<float> values, ReadOnlySpan<float> importance)
    {
        var k = (int)Shape.K;
        if (n0 < 0 || count < 0 || n0 + count > Shape.N)
        {
            throw new ArgumentOutOfRangeException(nameof(n0), $"rows {n0} to {n0 + count - 1} of a weight of shape {Shape}");
        }

        CheckLength(values.Length, (long)count * k, nameof(values));
        if (!importance.IsEmpty) CheckLength(importance.Length, k, nameof(importance));
        for (var i = 0; i < values.Length; i++)
        {
            if (!float.IsFinite(values[i])) throw NotFinite(n0 + (i / k), i % k / GroupSize);
        }

        var fit = new MixedFit(this);
        for (var i = 0; i < count; i += Rows)
        {
            var rows = Math.Min(Rows, count - i);
            fit.Tile(n0 + i, rows, values.Slice(i * k, rows * k), importance);
        }
    }

    public void Fit(long n, int g, ReadOnlySpan<float> values, ReadOnlySpan<float> importance)
    {
        CheckLength(values.Length, Geometry.GroupLength(g), nameof(values));
        if (!TensorPrimitives.IsFiniteAll<float>(values)) throw NotFinite(n, g);
        new MixedFit(this).Group(n, g, values, importance);
    }

    public void Round(long n, int k, ReadOnlySpan<float> values, Span<float> dequantized)
    {
        var codes = Codes(n).Slice(k, values.Length);
        for (var done = 0; done < values.Length;)
        {
            var g = (k + done) / GroupSize;
            var length = Math.Min(values.Length - done, ((g + 1) * GroupSize) - k - done);
            if (!MixedRound.Round(values.Slice(done, length), ScaleOf(n, g), GroupOf(n, g), codes.Slice(done, length))) throw NotFinite(n, g);
            done += length;
        }

        if (Geometry.Outliers > 0) RoundOutliers(n, k, values);
        if (!dequantized.IsEmpty) Dequantize(n, k, dequantized);
    }

    public void Dequantize(long n, Span<float> row)
    {
        CheckLength(row.Length, Shape.K, nameof(row));
        Dequantize(n, 0, row);
    }

    public void SetGroup(long n, int g, float scale, float zeroPoint)
    {
        if (!float.IsFinite(scale) || !float.IsFinite(zeroPoint))
        {
            throw new OrtQuantException($"row {n}, group {g}: scale and zero point are {scale} and {zeroPoint}; they must be finite");
        }

        var step = MixedGroup.StepOf(IsRefined(n, g));
        var unit = ScaleOf(n, g) * step;
        var stored = unit == 0 ? 0 : (int)Math.Clamp(MathF.Round(scale / unit), scale == 0 ? 0 : 1, MixedGroup.Most);
        Store(n, g, stored, (int)Math.Clamp(MathF.Round(zeroPoint * step), 0, MixedGroup.Most));
    }

    public (float Scale, float ZeroPoint) GetGroup(long n, int g) => GroupOf(n, g).Affine(ScaleOf(n, g));

    public bool IsOutlier(long n, int k)
    {
        if (Geometry.Outliers == 0) return false;
        var c = k / Geometry.BlockSize;
        return Positions(n).Slice(c * Geometry.Outliers, Geometry.Outliers).Contains((short)(k - (c * Geometry.BlockSize)));
    }

    public void SetOutlier(long n, int k, float value)
    {
        var c = k / Geometry.BlockSize;
        var slot = Positions(n).Slice(c * Geometry.Outliers, Geometry.Outliers).IndexOf((short)(k - (c * Geometry.BlockSize)));
        if (slot < 0) throw new ArgumentException($"position {k} of row {n} is no outlier", nameof(k));
        var group = GroupOf(n, k / GroupSize);
        var scale = Scales(n)[c];
        var dense = group.Scale * ((Codes(n)[k] * group.Step) - group.ZeroPoint);
        var rest = scale == 0 ? 0f : MathF.Round((value / scale) - dense);
        Outliers(n)[(c * Geometry.Outliers) + slot] = (short)Math.Clamp(rest, -short.MaxValue, short.MaxValue);
    }

    public void Dispose() => _tiles.Dispose();

    public bool IsRefined(long n, int g) => _refined[(n / Rows * Geometry.Groups) + g];

    public MixedGroup GroupOf(long n, int g)
    {
        var stored = Groups(n)[g];
        return new MixedGroup(IsRefined(n, g), stored & 15, stored >> 4);
    }

    public float ScaleOf(long n, int g) => _scales[(n * Geometry.Blocks) + (g / Geometry.GroupsPerBlock)];

    public void Store(long n, int g, int scale, int zeroPoint) => Groups(n)[g] = (byte)(scale | (zeroPoint << 4));

    public static OrtQuantException NotFinite(long n, int g) => new($"row {n}, group {g}: a value is NaN or infinite; weights must be finite");

    private void RoundOutliers(long n, int k, ReadOnlySpan<float> values)
    {
        var last = (k + values.Length - 1) / Geometry.BlockSize;
        for (var c = k / Geometry.BlockSize; c <= last; c++)
        {
            foreach (var position in Positions(n).Slice(c * Geometry.Outliers, Geometry.Outliers))
            {
                var at = (c * Geometry.BlockSize) + position - k;
                if (position != Unused && at >= 0 && at < values.Length) SetOutlier(n, k + at, values[at]);
            }
        }
    }

    // Positions k .. k + values.Length - 1.
    private void Dequantize(long n, int k, Span<float> values)
    {
        var codes = Codes(n).Slice(k, values.Length);
        for (var done = 0; done < values.Length;)
        {
            var g = (k + done) / GroupSize;
            var length = Math.Min(values.Length - done, ((g + 1) * GroupSize) - k - done);
            MixedRound.Integers(codes.Slice(done, length), GroupOf(n, g), values.Slice(done, length));
            done += length;
        }

        for (var done = 0; done < values.Length;)
        {
            var c = (k + done) / Geometry.BlockSize;
            var (start, end) = (c * Geometry.BlockSize, Math.Min(values.Length, ((c + 1) * Geometry.BlockSize) - k));
            for (var slot = c * Geometry.Outliers; slot < (c + 1) * Geometry.Outliers; slot++)
            {
                var (position, at) = (Positions(n)[slot], start + Positions(n)[slot] - k);
                if (position != Unused && position < Geometry.BlockLength(c) && at >= done && at < end) values[at] += Outliers(n)[slot];
            }

            TensorPrimitives.Multiply(values[done..end], Scales(n)[c], values[done..end]);
            done = end;
        }
    }

    private static void CheckLength(long actual, long required, string name)
    {
        if (actual != required) throw new ArgumentException($"length is {actual}; it must be {required}", name);
    }
}
