using System.Buffers.Binary;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Comparison;

/// <summary>How text or token ids are cut into independent sequences.</summary>
public sealed record SequenceOptions
{
    /// <summary>Most ids of a sequence, the one that begins it included.</summary>
    public int Context { get; init; } = 512;

    /// <summary>Most ids over all sequences; null for all there are.</summary>
    public long? MaxTokens { get; init; }

    /// <summary>Every sequence begins with the tokenizer's begin-of-sequence id.</summary>
    public bool BeginOfSequence { get; init; }

    /// <summary>Divides the text into documents: one sequence each, cut at <see cref="Context"/>. Null: the text is one run of ids, cut into pieces.</summary>
    public string? Separator { get; init; }
}

/// <summary>Cuts text and token files into the sequences that perplexity and comparisons are measured on.</summary>
public static class TokenSequences
{
    /// <summary>Cuts a text.</summary>
    /// <param name="text">The text. With a separator, white space around a document does not belong to it and empty documents are left out.</param>
    /// <param name="tokenizer">Turns it into ids.</param>
    /// <param name="options">How to cut.</param>
    public static IReadOnlyList<long[]> FromText(string text, Tokenizer tokenizer, SequenceOptions options)
    {
        if (options.Separator is { Length: > 0 } separator)
        {
            var documents = text.Split(separator, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            return Limit(documents.Select(document => Cut(tokenizer.Encode(document, options.BeginOfSequence), options.Context)), options.MaxTokens);
        }

        var ids = tokenizer.Encode(text, beginOfSequence: false);
        long? begin = options.BeginOfSequence
            ? tokenizer.File.BeginOfSequence ?? throw new RunningException($"tokenizer_config.json in {tokenizer.File.Folder} names no bos_token")
            : null;
        return FromIds(ids, options, begin);
    }

    /// <summary>Cuts a run of ids into pieces of <see cref="SequenceOptions.Context"/>; the last may be shorter.</summary>
    /// <param name="ids">The ids.</param>
    /// <param name="options">How to cut; the separator does not apply.</param>
    /// <param name="begin">Id to begin every sequence with; it counts towards the context.</param>
    public static IReadOnlyList<long[]> FromIds(IReadOnlyList<long> ids, SequenceOptions options, long? begin = null)
    {
        var piece = options.Context - (begin is null ? 0 : 1);
        if (piece < 1 || options.Context < 2)
        {
            throw new RunningException($"the context is {options.Context}; it must be at least 2");
        }

        var pieces = Enumerable.Range(0, (ids.Count + piece - 1) / piece).Select(index =>
        {
            var body = ids.Skip(index * piece).Take(piece);
            return (begin is { } id ? body.Prepend(id) : body).ToArray();
        });
        return Limit(pieces, options.MaxTokens);
    }

    /// <summary>Reads a token file: little-endian int32, nothing else.</summary>
    /// <exception cref="RunningException">The length is no multiple of 4, or an id is negative.</exception>
    public static long[] ReadTokenFile(string path)
    {
        var bytes = File.ReadAllBytes(path);
        if (bytes.Length % 4 != 0)
        {
            throw new RunningException($"{path} has {bytes.Length} bytes; a token file holds little-endian int32, so a multiple of 4");
        }

        var ids = new long[bytes.Length / 4];
        for (var i = 0; i < ids.Length; i++)
        {
            ids[i] = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(4 * i));
            if (ids[i] < 0)
            {
                throw new RunningException($"{path}: id {ids[i]} at place {i} is negative");
            }
        }

        return ids;
    }

    private static long[] Cut(long[] ids, int context) => ids.Length > context ? ids[..context] : ids;

    // A sequence of one id has nothing to score.
    private static List<long[]> Limit(IEnumerable<long[]> sequences, long? maxTokens)
    {
        var result = new List<long[]>();
        var left = maxTokens ?? long.MaxValue;
        foreach (var sequence in sequences)
        {
            var kept = sequence.Length > left ? sequence[..(int)left] : sequence;
            if (kept.Length >= 2)
            {
                result.Add(kept);
            }

            left -= kept.Length;
            if (left <= 0)
            {
                break;
            }
        }

        return result;
    }
}
