using System.Globalization;
using System.Runtime.InteropServices;

namespace OrtQuant.GraphRewriter.Benchmarks;

/// <summary>Memory of this process that no file backs.</summary>
internal static unsafe class ProcessMemory
{
    private static readonly Lazy<nint> MallocTrim = new(FindMallocTrim);

    /// <summary>
    /// Resident anonymous memory in bytes, after giving back what is free: garbage, and what the C heap keeps of it (else one model's
    /// leftovers would hold the next model's data and hide its size). Null where the system does not tell (other than Linux).
    /// </summary>
    public static long? AnonymousBytes()
    {
        const string Status = "/proc/self/status";
        if (!File.Exists(Status))
        {
            return null;
        }

        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        if (MallocTrim.Value != 0)
        {
            ((delegate* unmanaged<nuint, int>)MallocTrim.Value)(0);
        }

        var line = File.ReadLines(Status).FirstOrDefault(text => text.StartsWith("RssAnon:", StringComparison.Ordinal));
        return line is null ? null : long.Parse(line["RssAnon:".Length..].Replace("kB", "", StringComparison.Ordinal), CultureInfo.InvariantCulture) * 1024;
    }

    // glibc has it, other C libraries have not.
    private static nint FindMallocTrim() =>
        NativeLibrary.TryLoad("libc.so.6", out var library) && NativeLibrary.TryGetExport(library, "malloc_trim", out var function) ? function : 0;
}
