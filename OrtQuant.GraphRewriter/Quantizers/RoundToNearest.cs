using System.Buffers;
using System.Numerics.Tensors;
using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Quantizers;

/// <summary>
/// Round to nearest: the parameters of each group cover its range, and each weight takes the nearest code. One pass over the
/// weight, blocks of rows in parallel.
/// </summary>
public sealed class RoundToNearest : IQuantizer
{
    private RoundToNearest()
    {
    }

    /// <summary>The algorithm.</summary>
    public static RoundToNearest Instance { get; } = new();

    /// <inheritdoc/>
    public string Name => "rtn";

    /// <inheritdoc/>
    public string Title => "round to nearest";

    /// <inheritdoc/>
    public StatisticsLevel StatisticsNeeded => StatisticsLevel.None;

    /// <inheritdoc/>
    public QuantizedWeight Quantize(IWeightSource weight, IWeightScheme scheme, SchemeParameters parameters, QuantizerContext context) =>
        RowBlocks.Quantize(weight, scheme, parameters, context, static (grid, n0, count, values) =>
        {
            grid.FitRows(n0, count, values, []);
        });
}
