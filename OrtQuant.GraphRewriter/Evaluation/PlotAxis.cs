using System.Globalization;

namespace OrtQuant.GraphRewriter.Evaluation;

/// <summary>One axis of a plot: which numbers it spans, linear or logarithmic, and where its ticks are.</summary>
internal sealed class PlotAxis
{
    // Numbers farther apart than this are read better on a logarithmic scale.
    private const double LinearRatio = 8;
    private const int TicksWanted = 6;

    private readonly bool _logarithmic;
    private readonly double _low;
    private readonly double _high;

    private PlotAxis(double low, double high, bool logarithmic, IReadOnlyList<double> ticks) =>
        (_low, _high, _logarithmic, Ticks) = (low, high, logarithmic, ticks);

    /// <summary>Numbers to mark.</summary>
    internal IReadOnlyList<double> Ticks { get; }

    /// <summary>An axis over these numbers, with some room at both ends.</summary>
    /// <param name="values">Finite numbers; at least one.</param>
    internal static PlotAxis Over(IReadOnlyCollection<double> values)
    {
        var (low, high) = (values.Min(), values.Max());
        if (low > 0 && high / low > LinearRatio)
        {
            var (from, to) = (Math.Log10(low), Math.Log10(high));
            var room = 0.08 * (to - from);
            return new PlotAxis(from - room, to + room, true, LogTicks(from - room, to + room));
        }

        var margin = high > low ? 0.1 * (high - low) : Math.Max(Math.Abs(high) * 0.1, 1e-3);
        (low, high) = (low >= 0 ? Math.Max(0, low - margin) : low - margin, high + margin);
        return new PlotAxis(low, high, false, LinearTicks(low, high));
    }

    /// <summary>Where a number lies: 0 at the low end, 1 at the high end.</summary>
    internal double Place(double value) => ((_logarithmic ? Math.Log10(value) : value) - _low) / (_high - _low);

    /// <summary>A tick as text.</summary>
    internal string Label(double tick) => tick.ToString(Math.Abs(tick) is < 1e-4 and > 0 ? "0.#e0" : "0.######", CultureInfo.InvariantCulture);

    private static List<double> LinearTicks(double low, double high)
    {
        var rough = (high - low) / TicksWanted;
        var power = Math.Pow(10, Math.Floor(Math.Log10(rough)));
        var step = power * ((rough / power) switch { <= 1 => 1, <= 2 => 2, <= 5 => 5, _ => 10 });
        var first = (long)Math.Ceiling(low / step);
        var last = (long)Math.Floor(high / step);
        // Products of integers and a power of ten, so that 0.3 is not 0.30000000000000004.
        return [.. Enumerable.Range(0, (int)(last - first + 1)).Select(i => Math.Round((first + i) * step, 10))];
    }

    private static List<double> LogTicks(double low, double high)
    {
        double[] digits = high - low > 2.5 ? [1] : high - low > 1.2 ? [1, 3] : [1, 2, 3, 5, 7];
        var ticks = new List<double>();
        for (var decade = (int)Math.Floor(low); decade <= Math.Ceiling(high); decade++)
        {
            ticks.AddRange(digits.Select(digit => digit * Math.Pow(10, decade)).Where(tick => Math.Log10(tick) >= low && Math.Log10(tick) <= high));
        }

        return ticks;
    }
}
