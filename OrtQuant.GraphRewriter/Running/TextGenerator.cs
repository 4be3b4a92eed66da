using System.Diagnostics;

namespace OrtQuant.GraphRewriter.Running;

/// <summary>How to continue a prompt.</summary>
public sealed record GenerationOptions
{
    /// <summary>Most tokens to add.</summary>
    public int MaxNewTokens { get; init; } = 128;

    /// <summary>0 for greedy decoding.</summary>
    public double Temperature { get; init; }

    /// <summary>Seed of the draws.</summary>
    public int Seed { get; init; }

    /// <summary>Whether past and present of the KV cache are one buffer; null: where the model allows it.</summary>
    public bool? ShareCacheBuffer { get; init; }

    /// <summary>Ids that end the text; they are not part of it.</summary>
    public IReadOnlyCollection<long> EndOfSequence { get; init; } = [];
}

/// <summary>A continuation and what it cost.</summary>
/// <param name="Tokens">The new ids, without the one that ended the text.</param>
/// <param name="PromptTokens">Length of the prompt.</param>
/// <param name="PrefillSeconds">Until the first new token was known.</param>
/// <param name="DecodeSeconds">For all tokens after it.</param>
/// <param name="DecodeSteps">Runs of one token that <paramref name="DecodeSeconds"/> covers.</param>
/// <param name="StoppedAtEnd">The model ended the text itself.</param>
public sealed record GenerationResult(
    IReadOnlyList<long> Tokens, int PromptTokens, double PrefillSeconds, double DecodeSeconds, int DecodeSteps, bool StoppedAtEnd)
{
    /// <summary>Prompt tokens a second.</summary>
    public double PrefillTokensPerSecond => PromptTokens / PrefillSeconds;

    /// <summary>New tokens a second after the first; null when there was none.</summary>
    public double? DecodeTokensPerSecond => DecodeSteps > 0 ? DecodeSteps / DecodeSeconds : null;
}

/// <summary>Continues prompts.</summary>
public static class TextGenerator
{
    /// <summary>Continues a prompt token by token.</summary>
    /// <param name="model">The model.</param>
    /// <param name="prompt">At least one id.</param>
    /// <param name="options">When to stop and how to choose.</param>
    /// <param name="onToken">Called with each new id as soon as it is known.</param>
    /// <param name="cancellation">Ends the generation with an exception.</param>
    /// <exception cref="RunningException">The prompt is empty or longer than the model's context.</exception>
    public static GenerationResult Generate(
        LanguageModel model, ReadOnlySpan<long> prompt, GenerationOptions options, Action<long>? onToken = null, CancellationToken cancellation = default)
    {
        var limit = CheckedLength(model, prompt.Length, options.MaxNewTokens);
        using var state = model.Start(1, limit, options.ShareCacheBuffer);
        var sampler = new Sampler(options.Temperature, options.Seed);
        var tokens = new List<long>();
        var scores = Array.Empty<float>();

        long Next(ReadOnlySpan<long> ids)
        {
            using var logits = state.Append(ids, cancellation);
            Array.Resize(ref scores, logits.Vocabulary);
            logits.ReadRow(logits.Rows - 1, scores);
            return sampler.Next(scores);
        }

        var start = Stopwatch.GetTimestamp();
        var token = Next(prompt);
        var prefill = Stopwatch.GetElapsedTime(start).TotalSeconds;
        start = Stopwatch.GetTimestamp();
        var steps = 0;
        var ended = false;
        while (true)
        {
            if (options.EndOfSequence.Contains(token))
            {
                ended = true;
                break;
            }

            tokens.Add(token);
            onToken?.Invoke(token);
            if (tokens.Count >= options.MaxNewTokens || state.Length >= limit)
            {
                break;
            }

            token = Next([token]);
            steps++;
        }

        return new GenerationResult(tokens, prompt.Length, prefill, Stopwatch.GetElapsedTime(start).TotalSeconds, steps, ended);
    }

    private static int CheckedLength(LanguageModel model, int prompt, int maxNewTokens)
    {
        if (prompt == 0)
        {
            throw new RunningException("the prompt has no tokens; at least one is needed");
        }

        var context = model.Configuration.ContextLength ?? int.MaxValue;
        return prompt <= context
            ? (int)Math.Min(context, (long)prompt + maxNewTokens)
            : throw new RunningException($"the prompt has {prompt} tokens, the model's context {context}");
    }
}
