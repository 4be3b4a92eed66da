using System.Diagnostics;
using Spectre.Console;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>How far one stage of long work has come.</summary>
/// <param name="Stage">What is being done, e.g. <c>quantizing</c>; one bar each.</param>
/// <param name="Done">Units done.</param>
/// <param name="Total">Units in all; 0 when unknown.</param>
/// <param name="Item">What is being worked on now.</param>
internal readonly record struct StageProgress(string Stage, long Done, long Total, string? Item = null)
{
    /// <summary>From 0 to 1.</summary>
    public double Fraction => Total > 0 ? Math.Clamp((double)Done / Total, 0, 1) : 0;
}

/// <summary>Adapts the progress of library classes to stages.</summary>
internal static class StageProgressExtensions
{
    /// <summary>Reports counts as the progress of one stage.</summary>
    public static IProgress<(int Done, int Total)> For(this IProgress<StageProgress> progress, string stage) => new Counter(progress, stage);

    /// <summary>Reports what names its stages itself.</summary>
    public static IProgress<(string Stage, int Done, int Total)> ForStages(this IProgress<StageProgress> progress) => new Stages(progress);

    private sealed class Stages(IProgress<StageProgress> progress) : IProgress<(string Stage, int Done, int Total)>
    {
        public void Report((string Stage, int Done, int Total) value) => progress.Report(new StageProgress(value.Stage, value.Done, value.Total));
    }

    private sealed class Counter(IProgress<StageProgress> progress, string stage) : IProgress<(int Done, int Total)>
    {
        public void Report((int Done, int Total) value) => progress.Report(new StageProgress(stage, value.Done, value.Total));
    }
}

/// <summary>Progress for logs: a line when a stage begins or ends, and at most one every few seconds between.</summary>
internal sealed class PlainProgress(TextWriter output) : IProgress<StageProgress>
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(5);
    private readonly Lock _lock = new();
    private string? _stage;
    private bool _finished;
    private long _lastReport;
    private long _stageStart;

    /// <summary>Runs <paramref name="work"/>, writing its progress to <paramref name="output"/>.</summary>
    public static Task<T> RunAsync<T>(TextWriter output, Func<IProgress<StageProgress>, T> work) =>
        Task.Run(() => work(new PlainProgress(output)));

    /// <inheritdoc/>
    public void Report(StageProgress value)
    {
        lock (_lock)
        {
            var finished = value.Total > 0 && value.Done >= value.Total;
            var begins = value.Stage != _stage;
            if (!begins && (_finished || (!finished && Stopwatch.GetElapsedTime(_lastReport) < Interval)))
            {
                return;
            }

            if (begins) _stageStart = Stopwatch.GetTimestamp();
            (_stage, _finished, _lastReport) = (value.Stage, finished, Stopwatch.GetTimestamp());
            var percent = value.Total > 0 ? $" {100 * value.Fraction:0}%" : "";
            output.WriteLine($"{value.Stage}{percent}{(finished ? "" : Left(value.Fraction))}{(value.Item is null || finished ? "" : $" {value.Item}")}");
        }
    }

    // What is known after the first few seconds, when work goes on as it began.
    private string Left(double fraction)
    {
        var elapsed = Stopwatch.GetElapsedTime(_stageStart);
        return fraction > 0 && elapsed >= Interval ? $" ({elapsed.TotalSeconds / fraction * (1 - fraction):0} s left)" : "";
    }
}

/// <summary>Progress for a terminal: one bar a stage, on standard error.</summary>
internal sealed class BarProgress : IProgress<StageProgress>
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, ProgressTask> _bars = [];
    private readonly ProgressContext _context;

    private BarProgress(ProgressContext context) => _context = context;

    /// <summary>Runs <paramref name="work"/> under a live display that is taken away at the end.</summary>
    public static Task<T> RunAsync<T>(Func<IProgress<StageProgress>, T> work)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
        return console.Progress()
            .AutoClear(true)
            .Columns(new SpinnerColumn(), new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn())
            .StartAsync(context => Task.Run(() => work(new BarProgress(context))));
    }

    /// <inheritdoc/>
    public void Report(StageProgress value)
    {
        lock (_lock)
        {
            if (!_bars.TryGetValue(value.Stage, out var bar))
            {
                foreach (var earlier in _bars.Values.Where(earlier => earlier.IsIndeterminate))
                {
                    (earlier.IsIndeterminate, earlier.Value) = (false, earlier.MaxValue);
                }

                bar = _context.AddTask(Markup.Escape(value.Stage));
                _bars.Add(value.Stage, bar);
            }

            bar.IsIndeterminate = value.Total <= 0;
            bar.MaxValue = Math.Max(1, value.Total);
            bar.Value = value.Done;
            bar.Description = Markup.Escape(value.Item is null ? value.Stage : $"{value.Stage} {value.Item}");
        }
    }
}
