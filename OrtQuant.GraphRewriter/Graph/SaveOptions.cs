namespace OrtQuant.GraphRewriter.Graph;

/// <summary>How far a save has come.</summary>
/// <param name="BytesWritten">Bytes of tensor data written.</param>
/// <param name="BytesTotal">Bytes of tensor data in all.</param>
/// <param name="Tensor">Name of the tensor at work.</param>
public readonly record struct SaveProgress(long BytesWritten, long BytesTotal, string Tensor);

/// <summary>Where tensor data goes.</summary>
public enum DataPlacement
{
    /// <summary>Into an external file, unless all of it is small.</summary>
    Auto,

    /// <summary>Into an external file.</summary>
    External,

    /// <summary>Into the model file, at most 2 GiB.</summary>
    Inline,
}

/// <summary>Options of <see cref="ModelWriter"/>.</summary>
public sealed record SaveOptions
{
    /// <summary>Where tensor data goes.</summary>
    public DataPlacement Placement { get; init; }

    /// <summary>Told of progress, from the calling thread.</summary>
    public IProgress<SaveProgress>? Progress { get; init; }

    /// <summary>Stops the save; nothing of it stays behind.</summary>
    public CancellationToken Cancellation { get; init; }
}

/// <summary>What a save wrote.</summary>
/// <param name="GraphPath">The .onnx file.</param>
/// <param name="DataPath">The external data file, if there is one.</param>
/// <param name="Bytes">Bytes of both.</param>
public sealed record SavedModel(string GraphPath, string? DataPath, long Bytes);
