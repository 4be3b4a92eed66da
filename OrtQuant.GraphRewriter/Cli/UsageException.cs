namespace OrtQuant.GraphRewriter.Cli;

/// <summary>The command line asks for something that cannot be: exit code 2.</summary>
internal sealed class UsageException : Exception
{
    /// <summary>Reports bad usage.</summary>
    /// <param name="message">One line naming the actual and the permitted value.</param>
    public UsageException(string message)
        : base(message)
    {
    }
}
