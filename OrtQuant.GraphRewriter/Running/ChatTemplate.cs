namespace OrtQuant.GraphRewriter.Running;

/// <summary>The ChatML template, <c>&lt;|im_start|&gt;role\ntext&lt;|im_end|&gt;\n</c>, for tokenizers that have its tokens.</summary>
public static class ChatTemplate
{
    private const string Start = "<|im_start|>";
    private const string End = "<|im_end|>";

    /// <summary>Wraps a message of the user and opens the answer.</summary>
    /// <param name="message">What the user says.</param>
    /// <param name="tokenizer">Must have both tokens of the template.</param>
    /// <exception cref="RunningException">It has not.</exception>
    public static string Apply(string message, TokenizerFile tokenizer)
    {
        foreach (var token in (ReadOnlySpan<string>)[Start, End])
        {
            if (tokenizer.IdOf(token) is null)
            {
                throw new RunningException($"the tokenizer in {tokenizer.Folder} has no chat template that is supported: token {token} is missing");
            }
        }

        return $"{Start}user\n{message}{End}\n{Start}assistant\n";
    }
}
