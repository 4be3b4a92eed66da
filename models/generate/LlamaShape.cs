namespace OrtQuant.ModelGenerator;

/// <summary>Which operators a generated graph is made of.</summary>
internal enum GraphForm
{
    /// <summary>Plain ONNX operators only, opset 18, as Optimum exports a Llama.</summary>
    Optimum,

    /// <summary>GroupQueryAttention and fused norms of com.microsoft, opset 21, as the builder of onnxruntime-genai writes.</summary>
    Genai,
}

/// <summary>The dimensions of a Llama-shaped decoder.</summary>
/// <param name="Layers">Number of decoder layers.</param>
/// <param name="Hidden">Width of the residual stream.</param>
/// <param name="FeedForward">Width inside the gated feed-forward part.</param>
/// <param name="Heads">Query heads; divides <paramref name="Hidden"/> into an even head size.</param>
/// <param name="KeyValueHeads">Key and value heads; divides <paramref name="Heads"/>.</param>
/// <param name="Vocabulary">Number of tokens.</param>
/// <param name="Positions">Longest sequence, past included.</param>
/// <param name="Tied">Whether head and embedding are the same weight.</param>
internal sealed record LlamaShape(
    int Layers, int Hidden, int FeedForward, int Heads, int KeyValueHeads, int Vocabulary, int Positions, bool Tied)
{
    public const float Epsilon = 1e-5f;
    public const float RopeTheta = 10000f;

    public int HeadSize => Hidden / Heads;

    public int KeyValueWidth => HeadSize * KeyValueHeads;

    /// <summary>Number of weights, each counted once.</summary>
    public long Parameters =>
        ((long)Vocabulary * Hidden * (Tied ? 1 : 2))
        + (Layers * ((2L * Hidden * Hidden) + (2L * Hidden * KeyValueWidth) + (3L * Hidden * FeedForward) + (2L * Hidden)))
        + Hidden;

    /// <summary>Says what is wrong with the dimensions, or null.</summary>
    /// <param name="form">The operators; GroupQueryAttention on the CPU takes head sizes that are multiples of 16.</param>
    public string? Validate(GraphForm form)
    {
        foreach (var (name, value) in new[]
        {
            ("layers", Layers), ("hidden", Hidden), ("ffn", FeedForward), ("heads", Heads), ("kv-heads", KeyValueHeads),
            ("vocab", Vocabulary), ("positions", Positions),
        })
        {
            if (value < 1)
            {
                return $"--{name} is {value}; it must be at least 1";
            }
        }

        if (Hidden % Heads != 0 || HeadSize % 2 != 0)
        {
            return $"--hidden is {Hidden} and --heads {Heads}; hidden must be a multiple of 2 x heads";
        }

        if (form == GraphForm.Genai && HeadSize % 16 != 0)
        {
            return $"the head size (hidden / heads) is {HeadSize}; with --ops genai it must be a multiple of 16";
        }

        return Heads % KeyValueHeads == 0 ? null : $"--kv-heads is {KeyValueHeads}; it must divide --heads ({Heads})";
    }
}
