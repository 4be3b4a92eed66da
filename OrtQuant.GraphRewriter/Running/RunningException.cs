namespace OrtQuant.GraphRewriter.Running;

/// <summary>A model or tokenizer cannot be run as asked; the message is one line for the user.</summary>
public sealed class RunningException : Exception
{
    /// <summary>Reports why.</summary>
    /// <param name="message">One line naming the actual and the permitted value.</param>
    /// <param name="inner">The cause, where there is one.</param>
    public RunningException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
