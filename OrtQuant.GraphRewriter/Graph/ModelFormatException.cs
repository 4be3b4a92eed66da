namespace OrtQuant.GraphRewriter.Graph;

/// <summary>A model that breaks the ONNX specification, or one of the limits for models from unknown sources. The message is one line.</summary>
public sealed class ModelFormatException : Exception
{
    /// <summary>An error with its message.</summary>
    public ModelFormatException(string message)
        : base(message)
    {
    }

    /// <summary>An error with its cause.</summary>
    public ModelFormatException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
