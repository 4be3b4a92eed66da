using System.Text.Json;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Benchmarks;

/// <summary>What one kind of node costs in a run.</summary>
/// <param name="Op">Operator, with its domain where that is not ONNX's own.</param>
/// <param name="Nodes">Nodes of the kind that a run executes.</param>
/// <param name="Microseconds">Time of all of them in one run.</param>
public sealed record OpCost(string Op, double Nodes, double Microseconds);

/// <summary>Where the time of whole models goes: ONNX Runtime's own profile, summed by operator.</summary>
public static class ModelProfile
{
    /// <summary>Profiles the steps that follow a prompt, one token each.</summary>
    /// <param name="file">The graph.</param>
    /// <param name="options">Length of the prompt, number of steps, threads.</param>
    /// <param name="cancellation">Ends the measurement with an exception.</param>
    /// <returns>Operators of an average step, the most expensive first.</returns>
    /// <exception cref="RunningException">The model cannot be opened or run, or its context is too short.</exception>
    public static IReadOnlyList<OpCost> MeasureDecode(string file, ModelBenchmarkOptions options, CancellationToken cancellation = default)
    {
        var folder = Directory.CreateTempSubdirectory("ortquant-profile-");
        try
        {
            var settings = options.Session with { ProfilePrefix = Path.Combine(folder.FullName, "profile") };
            using var model = LanguageModel.Open(file, settings);
            var result = TextGenerator.Generate(
                model, ModelBenchmark.Prompt(model, options.Prompt), new GenerationOptions { MaxNewTokens = options.New + 1 }, cancellation: cancellation);
            using var profile = JsonDocument.Parse(File.ReadAllBytes(model.Session.EndProfiling()));
            return Sum(profile.RootElement, result.DecodeSteps);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    // Node events follow the order of execution: those of the prompt's run come before the end of the first model_run event.
    private static OpCost[] Sum(JsonElement events, int steps)
    {
        var firstRun = events.EnumerateArray().First(entry => entry.GetProperty("name").GetString() == "model_run");
        var prefillEnd = firstRun.GetProperty("ts").GetInt64() + firstRun.GetProperty("dur").GetInt64();
        var kernels = events.EnumerateArray().Where(entry =>
            entry.GetProperty("cat").GetString() == "Node"
            && entry.GetProperty("name").GetString()!.EndsWith("_kernel_time", StringComparison.Ordinal)
            && entry.GetProperty("ts").GetInt64() >= prefillEnd);
        return
        [
            .. kernels.GroupBy(entry => entry.GetProperty("args").GetProperty("op_name").GetString()!)
                .Select(group => new OpCost(group.Key, (double)group.Count() / steps, group.Sum(entry => (double)entry.GetProperty("dur").GetInt64()) / steps))
                .OrderByDescending(cost => cost.Microseconds),
        ];
    }
}
