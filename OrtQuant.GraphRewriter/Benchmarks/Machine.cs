using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;

namespace OrtQuant.GraphRewriter.Benchmarks;

/// <summary>What numbers were measured on.</summary>
/// <param name="Processor">Name of the processor.</param>
/// <param name="Cores">Logical processors.</param>
/// <param name="MemoryBytes">Main memory.</param>
/// <param name="OperatingSystem">Name and version.</param>
/// <param name="OnnxRuntime">Version of ONNX Runtime.</param>
/// <param name="Date">Day of the measurement, UTC, ISO 8601.</param>
public sealed record Machine(string Processor, int Cores, long MemoryBytes, string OperatingSystem, string OnnxRuntime, string Date)
{
    /// <summary>Describes this machine, now.</summary>
    public static Machine Describe() => new(
        ProcessorName(),
        Environment.ProcessorCount,
        GC.GetGCMemoryInfo().TotalAvailableMemoryBytes,
        RuntimeInformation.OSDescription,
        OrtEnv.Instance().GetVersionString(),
        DateTime.UtcNow.ToString("yyyy-MM-dd", System.Globalization.CultureInfo.InvariantCulture));

    private static string ProcessorName()
    {
        const string Linux = "/proc/cpuinfo";
        var line = File.Exists(Linux) ? File.ReadLines(Linux).FirstOrDefault(text => text.StartsWith("model name", StringComparison.Ordinal)) : null;
        return line?[(line.IndexOf(':', StringComparison.Ordinal) + 1)..].Trim()
            ?? Environment.GetEnvironmentVariable("PROCESSOR_IDENTIFIER")
            ?? RuntimeInformation.ProcessArchitecture.ToString();
    }
}
