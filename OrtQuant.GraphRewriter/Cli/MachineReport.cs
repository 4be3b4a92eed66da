using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Benchmarks;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>The machine a result was measured on, as JSON.</summary>
internal static class MachineReport
{
    /// <summary>One object.</summary>
    public static JsonObject ToJson(Machine machine) => new()
    {
        ["processor"] = machine.Processor,
        ["cores"] = machine.Cores,
        ["memory_bytes"] = machine.MemoryBytes,
        ["operating_system"] = machine.OperatingSystem,
        ["onnxruntime"] = machine.OnnxRuntime,
        ["date"] = machine.Date,
    };
}
