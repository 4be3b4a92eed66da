using System.Numerics.Tensors;
using OrtQuant.Descriptions;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes.Mixed;

/// <summary>
/// Chooses everything but codes (SPEC.md, "What the encoder chooses"): which groups of a tile get 4 bits, which weights become outliers, the scales of blocks,
/// and the scale and zero point of each group in units of its block's. Squared errors have weights throughout: those given, or <c>rms(group) + |w|</c>.
/// </summary>
internal sealed class MixedFit(MixedGrid grid)
{
    private const int Rows = MixedGeometry.TileRows;
    private const float LargestScale = 65504f;
    private readonly MixedGeometry _geometry = grid.Geometry;
    private readonly int _k = (int)grid.Shape.K;

    /// <summary>What the largest step of a block's groups is, in units of the block's scale, before and after it was searched.</summary>
    private static ReadOnlySpan<float> ScalesTried => [15f, 16.2f, 17.4f, 13.8f];

    /// <summary>Fits up to 16 rows.</summary>
    /// <param name="n0">The first one, a multiple of 16.</param>
    /// <param name="count">How many.</param>
    /// <param name="values">Their weights <c>[count, K]</c>, all finite.</param>
    /// <param name="importance">Empty, or the weights of the squared errors <c>[K]</c>.</param>
    public void Tile(long n0, int count, ReadOnlySpan<float> values, ReadOnlySpan<float> importance)
    {
        var (groups, refined) = (_geometry.Groups, _geometry.Refined);
        var weights = new float[values.Length];
        for (var i = 0; i < count; i++) Weights(values.Slice(i * _k, _k), importance, weights.AsSpan(i * _k, _k));
        var narrow = new (float Scale, float ZeroPoint)[count * groups];
        var wide = new (float Scale, float ZeroPoint)[count * groups];
        var gains = new double[groups];
        for (var i = 0; i < count; i++)
        {
            for (var g = 0; g < groups; g++)
            {
                var group = Slice(values, i, g);
                var h = Slice(weights, i, g);
                var index = (i * groups) + g;
                if (refined < groups) narrow[index] = Real(n0 + i, g, group, h, isRefined: false);
                if (refined > 0) wide[index] = Real(n0 + i, g, group, h, isRefined: true);
                if (refined > 0 && refined < groups) gains[g] += Error(group, h, narrow[index], isRefined: false) - Error(group, h, wide[index], isRefined: true);
            }
        }

        var map = grid.Refined((int)(n0 / Rows));
        map.Clear();
        foreach (var g in Enumerable.Range(0, groups).OrderByDescending(g => gains[g]).ThenBy(g => g).Take(refined)) map[g] = true;
        var real = new (float Scale, float ZeroPoint)[groups];
        for (var i = 0; i < count; i++)
        {
            for (var g = 0; g < groups; g++) real[g] = (map[g] ? wide : narrow)[(i * groups) + g];
            Row(n0 + i, values.Slice(i * _k, _k), weights.AsSpan(i * _k, _k), real);
        }
    }

    /// <summary>Chooses scale and zero point of one group; its width, its outliers and the scale of its block stay.</summary>
    public void Group(long n, int g, ReadOnlySpan<float> values, ReadOnlySpan<float> importance)
    {
        Span<float> weights = stackalloc float[values.Length];
        Weights(values, importance, weights);
        for (var i = 0; i < values.Length; i++)
        {
            if (grid.IsOutlier(n, (g * _geometry.GroupSize) + i)) weights[i] = 0;
        }

        var isRefined = grid.IsRefined(n, g);
        var (stored, _) = Stored(values, weights, isRefined, grid.ScaleOf(n, g), Real(n, g, values, weights, isRefined), thorough: true);
        grid.Store(n, g, stored.Scale, stored.ZeroPoint);
    }

    private void Row(long n, ReadOnlySpan<float> row, Span<float> weights, Span<(float Scale, float ZeroPoint)> real)
    {
        grid.Positions(n).Fill(MixedGrid.Unused);
        grid.Outliers(n).Clear();
        for (var c = 0; c < _geometry.Blocks; c++)
        {
            for (var slot = 0; slot < _geometry.Outliers; slot++) TakeOut(n, c, slot, row, weights, real);
            FitBlock(n, c, row, weights, real);
        }
    }

    // The position with the largest weighted error becomes an outlier, and its group is fitted to the rest.
    private void TakeOut(long n, int c, int slot, ReadOnlySpan<float> row, Span<float> weights, Span<(float Scale, float ZeroPoint)> real)
    {
        var (worst, worstError) = (-1, 0.0);
        for (var g = c * _geometry.GroupsPerBlock; g < EndOfBlock(c); g++)
        {
            if (grid.IsRefined(n, g)) continue;
            var (scale, zeroPoint) = real[g];
            var inverse = scale == 0 ? 0 : 1 / scale;
            for (var k = g * _geometry.GroupSize; k < (g * _geometry.GroupSize) + _geometry.GroupLength(g); k++)
            {
                var code = MathF.Round(Math.Clamp((row[k] * inverse) + zeroPoint, 0, MixedGroup.MaxCodeOf(false)));
                var difference = (double)row[k] - (scale * (code - zeroPoint));
                var error = weights[k] * difference * difference;
                if (error > worstError) (worst, worstError) = (k, error);
            }
        }

        if (worst < 0) return;
        grid.Positions(n)[(c * _geometry.Outliers) + slot] = (short)(worst - (c * _geometry.BlockSize));
        weights[worst] = 0;
        var group = worst / _geometry.GroupSize;
        real[group] = Real(n, group, Slice(row, 0, group), Slice(weights, 0, group), isRefined: false);
    }

    // The scale of a block is the one of a few with the least error once its groups' scales are multiples of it.
    private void FitBlock(long n, int c, ReadOnlySpan<float> row, ReadOnlySpan<float> weights, ReadOnlySpan<(float Scale, float ZeroPoint)> real)
    {
        var (first, end) = (c * _geometry.GroupsPerBlock, EndOfBlock(c));
        var largest = 0f;
        for (var g = first; g < end; g++) largest = Math.Max(largest, Math.Abs(real[g].Scale) / MixedGroup.StepOf(grid.IsRefined(n, g)));
        var (best, leastError) = (0f, double.PositiveInfinity);
        foreach (var most in ScalesTried)
        {
            var scale = StoreScale(largest / most, n, c);
            double error = 0;
            for (var g = first; g < end; g++) error += Stored(Slice(row, 0, g), Slice(weights, 0, g), grid.IsRefined(n, g), scale, real[g], thorough: false).Error;
            if (error < leastError) (best, leastError) = (scale, error);
        }

        grid.Scales(n)[c] = best;
        for (var g = first; g < end; g++)
        {
            var (stored, _) = Stored(Slice(row, 0, g), Slice(weights, 0, g), grid.IsRefined(n, g), best, real[g], thorough: true);
            grid.Store(n, g, stored.Scale, stored.ZeroPoint);
        }
    }

    // The scale (in units of its block's) and zero point near real ones with the least error.
    private static (MixedGroup Group, double Error) Stored(
        ReadOnlySpan<float> values, ReadOnlySpan<float> weights, bool isRefined, float blockScale, (float Scale, float ZeroPoint) real, bool thorough)
    {
        var step = MixedGroup.StepOf(isRefined);
        var unit = blockScale * step;
        if (real.Scale == 0 || unit == 0) return (new MixedGroup(isRefined, 0, 0), Error(values, weights, default, isRefined));
        var nearest = (int)Math.Clamp(MathF.Round(Math.Abs(real.Scale) / unit), 1, MixedGroup.Most);
        var (best, leastError) = (default(MixedGroup), double.PositiveInfinity);
        var reach = thorough ? 1 : 0;
        for (var scale = Math.Max(1, nearest - reach); scale <= Math.Min(MixedGroup.Most, nearest + reach); scale++)
        {
            var zeroPoint = ZeroPoint(real.ZeroPoint * step);
            for (var round = 0; round < 2 + reach; round++)
            {
                var group = new MixedGroup(isRefined, scale, zeroPoint);
                var moments = GroupMoments.Of(values, weights, group.Affine(blockScale), group.MaxCode);
                if (moments.Error < leastError) (best, leastError) = (group, moments.Error);
                var refit = moments.ZeroPoint(unit * scale) is { } free ? ZeroPoint((float)free * step) : zeroPoint;
                if (refit == zeroPoint) break;
                zeroPoint = refit;
            }
        }

        return double.IsFinite(leastError) ? (best, leastError) : (new MixedGroup(isRefined, nearest, ZeroPoint(real.ZeroPoint * step)), leastError);
    }

    private static int ZeroPoint(float position) => float.IsNaN(position) ? 0 : (int)Math.Clamp(MathF.Round(position), 0, MixedGroup.Most);

    private (float Scale, float ZeroPoint) Real(long n, int g, ReadOnlySpan<float> values, ReadOnlySpan<float> weights, bool isRefined)
    {
        try
        {
            return GroupFit.Weighted(values, weights, new GroupParameters(isRefined ? 4 : 2, _geometry.GroupSize, ZeroPointKind.Float, ElementType.Float32));
        }
        catch (GroupFit.UnrepresentableException cause)
        {
            throw new OrtQuantException($"row {n}, group {g}: {cause.Message}");
        }
    }

    private static double Error(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, (float Scale, float ZeroPoint) real, bool isRefined)
    {
        if (real.Scale != 0) return GroupMoments.Of(values, weights, real, MixedGroup.MaxCodeOf(isRefined)).Error;
        double sum = 0;
        for (var i = 0; i < values.Length; i++) sum += (double)weights[i] * values[i] * values[i];
        return sum;
    }

    // As it is stored; a block that is not all zero keeps a scale.
    private static float StoreScale(float scale, long n, int c)
    {
        if (scale > LargestScale) throw new OrtQuantException($"row {n}, block {c}: its scale would be {scale:g4}; the largest float16 is {LargestScale}");
        return scale == 0 ? 0 : Math.Max((float)(Half)scale, (float)Half.Epsilon);
    }

    private void Weights(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, Span<float> weights)
    {
        if (!importance.IsEmpty)
        {
            importance.CopyTo(weights);
            return;
        }

        TensorPrimitives.Abs(values, weights);
        for (var start = 0; start < values.Length; start += _geometry.GroupSize)
        {
            var group = weights.Slice(start, Math.Min(_geometry.GroupSize, values.Length - start));
            TensorPrimitives.Add(group, TensorPrimitives.Norm<float>(group) / MathF.Sqrt(group.Length), group);
        }
    }

    private int EndOfBlock(int c) => Math.Min(_geometry.Groups, (c + 1) * _geometry.GroupsPerBlock);

    // Group g of row i of a matrix of K columns.
    private ReadOnlySpan<float> Slice(ReadOnlySpan<float> rows, int i, int g) => rows.Slice((i * _k) + (g * _geometry.GroupSize), _geometry.GroupLength(g));
}
