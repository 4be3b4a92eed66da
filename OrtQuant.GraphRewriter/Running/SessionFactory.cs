using Microsoft.ML.OnnxRuntime;

namespace OrtQuant.GraphRewriter.Running;

/// <summary>How sessions are opened.</summary>
public sealed record SessionSettings
{
    /// <summary>Threads of the session's own pool; 0 leaves the choice to ONNX Runtime.</summary>
    public int Threads { get; init; }

    /// <summary>Register the native library. Without it custom ops run through their function bodies.</summary>
    public bool UseLibrary { get; init; } = true;

    /// <summary>A serialized graph to open in place of the file's own: a variant of it. External data is still read beside the file.</summary>
    public ReadOnlyMemory<byte>? Graph { get; init; }

    /// <summary>Session config entries, e.g. <c>ortquant.force_isa</c>.</summary>
    public IReadOnlyDictionary<string, string> ConfigEntries { get; init; } = new Dictionary<string, string>();

    /// <summary>
    /// Keep memory of a session for its next run. Without, what a run allocates goes back to the system as soon as it is free: for sessions that
    /// are run a few times and whose outputs outlive them.
    /// </summary>
    public bool UseArena { get; init; } = true;

    /// <summary>How far ONNX Runtime optimizes the graph.</summary>
    public GraphOptimizationLevel OptimizationLevel { get; init; } = GraphOptimizationLevel.ORT_ENABLE_ALL;

    /// <summary>Start of the path of ONNX Runtime's profile, written when the session is asked for it; null: none is taken.</summary>
    public string? ProfilePrefix { get; init; }
}

/// <summary>Opens ONNX Runtime sessions.</summary>
public static class SessionFactory
{
    /// <summary>Opens a model file.</summary>
    /// <exception cref="RunningException">ONNX Runtime cannot open it.</exception>
    public static InferenceSession Open(string modelFile, SessionSettings settings)
    {
        using var options = CreateOptions(settings);
        if (settings.Graph is not { } graph)
        {
            return Guard(modelFile, () => new InferenceSession(modelFile, options));
        }

        options.AddSessionConfigEntry("session.model_external_initializers_file_folder_path", Path.GetDirectoryName(Path.GetFullPath(modelFile))!);
        return Guard(modelFile, () => new InferenceSession(graph.ToArray(), options));
    }

    /// <summary>Opens a model held in memory.</summary>
    /// <param name="model">A serialized ModelProto with inline data.</param>
    /// <param name="name">Names the model in errors.</param>
    /// <param name="settings">How to open it.</param>
    /// <exception cref="RunningException">ONNX Runtime cannot open it.</exception>
    public static InferenceSession Open(byte[] model, string name, SessionSettings settings)
    {
        using var options = CreateOptions(settings);
        return Guard(name, () => new InferenceSession(model, options));
    }

    /// <summary>Session options as the settings say.</summary>
    /// <exception cref="OrtQuantException">The native library cannot be loaded; <see cref="SessionSettings.UseLibrary"/> leaves it out.</exception>
    public static SessionOptions CreateOptions(SessionSettings settings)
    {
        var options = new SessionOptions
        {
            // Warnings of ONNX Runtime are about its own optimizations; errors come as exceptions as well.
            LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL,
            IntraOpNumThreads = settings.Threads,
            InterOpNumThreads = 1,
            GraphOptimizationLevel = settings.OptimizationLevel,
            EnableCpuMemArena = settings.UseArena,
            EnableMemoryPattern = settings.UseArena,
        };
        if (settings.ProfilePrefix is { } prefix)
        {
            options.ProfileOutputPathPrefix = prefix;
            options.EnableProfiling = true;
        }

        foreach (var (key, value) in settings.ConfigEntries)
        {
            options.AddSessionConfigEntry(key, value);
        }

        if (settings.UseLibrary)
        {
            options.RegisterOrtQuant();
        }

        return options;
    }

    private static InferenceSession Guard(string name, Func<InferenceSession> open)
    {
        try
        {
            return open();
        }
        catch (OnnxRuntimeException exception)
        {
            throw new RunningException($"ONNX Runtime cannot open {name}: {exception.Message}", exception);
        }
    }
}
