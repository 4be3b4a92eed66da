namespace OrtQuant.GraphRewriter.Adapters;

/// <summary>An adapter that cannot be used; the message says why in one line.</summary>
public sealed class AdapterException : OrtQuantException
{
    /// <summary>With a message.</summary>
    public AdapterException(string message)
        : base(message)
    {
    }

    /// <summary>With a message and a cause.</summary>
    public AdapterException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
