using System.Globalization;

namespace OrtQuant.GraphRewriter.Benchmarks;

/// <summary>Memory of this process that no file backs.</summary>
internal static class ProcessMemory
{
    /// <summary>Resident anonymous memory in bytes, after collecting garbage; null where the system does not tell (other than Linux).</summary>
    public static long? AnonymousBytes()
    {
        const string Status = "/proc/self/status";
        if (!File.Exists(Status))
        {
            return null;
        }

        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        var line = File.ReadLines(Status).FirstOrDefault(text => text.StartsWith("RssAnon:", StringComparison.Ordinal));
        return line is null ? null : long.Parse(line["RssAnon:".Length..].Replace("kB", "", StringComparison.Ordinal), CultureInfo.InvariantCulture) * 1024;
    }
}
