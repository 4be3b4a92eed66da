using System.Globalization;

namespace OrtQuant.GraphRewriter.Rewriting;

/// <summary>Samples the resident memory of this process while work runs.</summary>
internal sealed class MemorySampler : IDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(20);

    private readonly Timer _timer;
    private long _peakAnonymous;

    internal MemorySampler() => _timer = new Timer(_ => Sample(), null, TimeSpan.Zero, Interval);

    /// <summary>Highest anonymous resident memory seen, in bytes; the whole working set where the system does not tell them apart.</summary>
    internal long PeakAnonymousBytes
    {
        get
        {
            Sample();
            return Interlocked.Read(ref _peakAnonymous);
        }
    }

    /// <summary>Highest resident memory of the process since it started, in bytes.</summary>
    internal static long PeakResidentBytes => ReadStatus("VmHWM:") ?? System.Diagnostics.Process.GetCurrentProcess().PeakWorkingSet64;

    public void Dispose() => _timer.Dispose();

    private void Sample()
    {
        var now = ReadStatus("RssAnon:") ?? Environment.WorkingSet;
        long seen;
        while (now > (seen = Interlocked.Read(ref _peakAnonymous)) && Interlocked.CompareExchange(ref _peakAnonymous, now, seen) != seen)
        {
        }
    }

    /// <summary>A field of Linux's <c>/proc/self/status</c>, which counts in units of 1024 bytes; null elsewhere.</summary>
    private static long? ReadStatus(string field)
    {
        const string Path = "/proc/self/status";
        if (!OperatingSystem.IsLinux()) return null;
        foreach (var line in File.ReadLines(Path))
        {
            if (line.StartsWith(field, StringComparison.Ordinal))
            {
                return 1024 * long.Parse(line.AsSpan(field.Length).Trim().ToString().Split(' ')[0], CultureInfo.InvariantCulture);
            }
        }

        return null;
    }
}
