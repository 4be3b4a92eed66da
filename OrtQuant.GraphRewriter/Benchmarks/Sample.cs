using System.Diagnostics;

namespace OrtQuant.GraphRewriter.Benchmarks;

/// <summary>Repeated timings of one thing.</summary>
/// <param name="Median">Median, seconds.</param>
/// <param name="Min">Fastest, seconds.</param>
/// <param name="Max">Slowest, seconds.</param>
/// <param name="Repeats">How many.</param>
public sealed record Sample(double Median, double Min, double Max, int Repeats)
{
    /// <summary>Summarizes timings.</summary>
    /// <param name="seconds">At least one.</param>
    public static Sample Of(IReadOnlyCollection<double> seconds)
    {
        var sorted = seconds.Order().ToArray();
        var middle = sorted.Length / 2;
        var median = sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
        return new Sample(median, sorted[0], sorted[^1], sorted.Length);
    }

    /// <summary>The same for a part of the work.</summary>
    public Sample DividedBy(double parts) => new(Median / parts, Min / parts, Max / parts, Repeats);

    /// <summary>
    /// Times several things in turn, so that whatever else the machine does falls on all of them alike. Each runs once before, untimed.
    /// </summary>
    /// <param name="runs">What to time.</param>
    /// <param name="repeats">Rounds at least.</param>
    /// <param name="budget">Rounds go on until each thing had <paramref name="minimum"/>; no round starts after this much time in all.</param>
    /// <param name="minimum">Time that each thing gets at least, within the budget.</param>
    /// <param name="cancellation">Ends the timing with an exception.</param>
    public static Sample[] Interleave(
        IReadOnlyList<Action> runs, int repeats, TimeSpan budget, TimeSpan minimum, CancellationToken cancellation)
    {
        foreach (var run in runs)
        {
            run();
            cancellation.ThrowIfCancellationRequested();
        }

        var timings = runs.Select(_ => new List<double>()).ToArray();
        var start = Stopwatch.GetTimestamp();
        while (timings.Any(list => list.Count < repeats || list.Sum() < minimum.TotalSeconds))
        {
            // Three rounds are the least that has a median.
            if (timings[0].Count >= 3 && Stopwatch.GetElapsedTime(start) > budget)
            {
                break;
            }

            for (var i = 0; i < runs.Count; i++)
            {
                cancellation.ThrowIfCancellationRequested();
                var begin = Stopwatch.GetTimestamp();
                runs[i]();
                timings[i].Add(Stopwatch.GetElapsedTime(begin).TotalSeconds);
            }
        }

        return [.. timings.Select(Of)];
    }
}
