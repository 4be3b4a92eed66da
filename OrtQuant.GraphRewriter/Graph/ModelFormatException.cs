namespace OrtQuant.GraphRewriter.Graph;

/// <summary>What is wrong with a model file: one line that names the tensor, node or value, what it has and what is permitted.</summary>
public sealed class ModelFormatException : OrtQuantException
{
    /// <summary>An error with a message.</summary>
    /// <param name="message">One line for the user.</param>
    public ModelFormatException(string message)
        : base(message)
    {
    }

    /// <summary>An error with a message and what caused it.</summary>
    /// <param name="message">One line for the user.</param>
    /// <param name="innerException">The cause.</param>
    public ModelFormatException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
