namespace OrtQuant.GraphRewriter.Planning;

/// <summary>A plan that cannot be read, or does not fit the model; the message names the actual and the permitted value.</summary>
public sealed class PlanException : Exception
{
    /// <summary>Reports a plan that cannot be used.</summary>
    /// <param name="message">One line naming the actual and the permitted value.</param>
    public PlanException(string message)
        : base(message)
    {
    }

    /// <summary>Reports a plan that cannot be used, and what raised it.</summary>
    /// <param name="message">One line naming the actual and the permitted value.</param>
    /// <param name="innerException">The cause.</param>
    public PlanException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
