using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Adapters;

/// <summary>
/// Changes that are the same for all weights of a group, put into the group's zero point: <c>scale * (q - zp) + d = scale * (q - (zp - d / scale))</c>.
/// The codes stay as they are, which makes the merge exact (QA-LoRA, arXiv 2309.14717).
/// </summary>
internal static class ZeroPointShift
{
    /// <summary>Shifts the zero points of a grid whose codes are chosen.</summary>
    /// <param name="grid">A grid with float zero points.</param>
    /// <param name="changes">Changes whose pools are whole groups of the grid.</param>
    internal static void Apply(IWeightGrid grid, IEnumerable<LowRankChange> changes)
    {
        foreach (var change in changes)
        {
            var affine = grid as IAffineGrid ?? throw new AdapterException("the scheme has no zero points that an adapter can be merged into; use scheme group");
            var factors = change.Read();
            var shift = new float[change.Columns];
            for (var row = 0; row < change.Rows; row++)
            {
                shift.AsSpan().Clear();
                factors.AddRow(row, 0, shift);
                for (var group = 0; group < affine.GroupCount; group++) Shift(affine, change.FirstRow + row, group, shift[(int)((long)group * affine.GroupSize / change.Pool)]);
            }
        }
    }

    private static void Shift(IAffineGrid grid, long row, int group, float shift)
    {
        var (scale, zeroPoint) = grid.GetGroup(row, group);
        if (scale != 0)
        {
            grid.SetGroup(row, group, scale, zeroPoint - (shift / scale));
            return;
        }

        // A group of zeros has no scale to shift by: any will do, with one code for all.
        var first = group * grid.GroupSize;
        grid.Codes(row).Slice(first, (int)Math.Min(grid.GroupSize, grid.Shape.K - first)).Clear();
        grid.SetGroup(row, group, Math.Abs(shift), -Math.Sign(shift));
    }
}
