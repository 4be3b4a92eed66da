namespace OrtQuant;

/// <summary>What OrtQuant reports as wrong with its input; the message names the actual and the permitted value.</summary>
public class OrtQuantException : Exception
{
    /// <summary>An error with a message.</summary>
    /// <param name="message">One line for the user.</param>
    public OrtQuantException(string message)
        : base(message)
    {
    }

    /// <summary>An error with a message and what caused it.</summary>
    /// <param name="message">One line for the user.</param>
    /// <param name="innerException">The cause.</param>
    public OrtQuantException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
