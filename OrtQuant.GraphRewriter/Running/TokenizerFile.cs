using System.Text.Json.Nodes;

namespace OrtQuant.GraphRewriter.Running;

/// <summary>How the pieces of a vocabulary spell bytes.</summary>
public enum PieceEncoding
{
    /// <summary>Each character stands for one byte (GPT-2 and its descendants).</summary>
    ByteLevel,

    /// <summary>Text with U+2581 for a space and <c>&lt;0xNN&gt;</c> for a byte (SentencePiece).</summary>
    SentencePiece,

    /// <summary>Words, continued by pieces that start with <c>##</c> (WordPiece).</summary>
    WordPiece,
}

/// <summary>A Hugging Face tokenizer as stored: the texts of its two files, and what decoding needs of them.</summary>
public sealed class TokenizerFile
{
    private readonly Dictionary<string, int> _ids = new(StringComparer.Ordinal);

    private TokenizerFile(string folder, string tokenizer, string configuration)
    {
        Folder = folder;
        TokenizerJson = tokenizer;
        ConfigurationJson = configuration;
        var root = Parse(tokenizer, "tokenizer.json");
        Pieces = ReadPieces(root);
        Encoding = EncodingOf(root);
        StripsLeadingSpace = Encoding == PieceEncoding.SentencePiece && Decoders(root).Any(type => type is "Strip" or "Metaspace");
        BeginOfSequence = Special(Parse(configuration, "tokenizer_config.json")["bos_token"]);
        EndOfSequence = Special(Parse(configuration, "tokenizer_config.json")["eos_token"]);
    }

    /// <summary>Where it was read from.</summary>
    public string Folder { get; }

    /// <summary>Text of tokenizer.json.</summary>
    public string TokenizerJson { get; }

    /// <summary>Text of tokenizer_config.json; an empty object where there is none.</summary>
    public string ConfigurationJson { get; }

    /// <summary>Piece of every id; null where an id is not used.</summary>
    public IReadOnlyList<string?> Pieces { get; }

    /// <summary>Ids of control tokens, which are no text.</summary>
    public HashSet<int> SpecialIds { get; } = [];

    /// <summary>Ids of added tokens, whose piece is their text as it stands.</summary>
    public HashSet<int> AddedIds { get; } = [];

    /// <summary>How pieces spell bytes.</summary>
    public PieceEncoding Encoding { get; }

    /// <summary>The first space of a text belongs to the encoding, not to the text.</summary>
    public bool StripsLeadingSpace { get; }

    /// <summary>Id that begins a sequence, where the tokenizer has one.</summary>
    public int? BeginOfSequence { get; }

    /// <summary>Id that ends a sequence, where the tokenizer has one.</summary>
    public int? EndOfSequence { get; }

    /// <summary>Reads tokenizer.json and tokenizer_config.json.</summary>
    /// <param name="folder">A folder with both, or the path of a tokenizer.json.</param>
    /// <exception cref="RunningException">tokenizer.json is missing, or a file is not what its name says.</exception>
    public static TokenizerFile Read(string folder)
    {
        var file = File.Exists(folder) ? folder : Path.Combine(folder, "tokenizer.json");
        folder = Path.GetDirectoryName(Path.GetFullPath(file))!;
        if (!File.Exists(file))
        {
            throw new RunningException($"no tokenizer.json in {folder}");
        }

        var configuration = Path.Combine(folder, "tokenizer_config.json");
        return new TokenizerFile(folder, File.ReadAllText(file), File.Exists(configuration) ? File.ReadAllText(configuration) : "{}");
    }

    /// <summary>The id of a piece, spelled as in the vocabulary.</summary>
    /// <returns>Null when there is no such piece.</returns>
    public int? IdOf(string piece) => _ids.TryGetValue(piece, out var id) ? id : null;

    private static JsonObject Parse(string text, string name)
    {
        try
        {
            return JsonNode.Parse(text) as JsonObject ?? throw new RunningException($"{name} holds no JSON object");
        }
        catch (System.Text.Json.JsonException exception)
        {
            throw new RunningException($"{name} is not valid JSON: {exception.Message}", exception);
        }
    }

    private string?[] ReadPieces(JsonObject root)
    {
        switch (root["model"]?["vocab"])
        {
            case JsonObject map:
                foreach (var (piece, id) in map)
                {
                    _ids[piece] = id!.GetValue<int>();
                }

                break;
            case JsonArray list:
                // Unigram: [piece, score], the id is the place.
                for (var id = 0; id < list.Count; id++)
                {
                    _ids[list[id]![0]!.GetValue<string>()] = id;
                }

                break;
            default:
                throw new RunningException("tokenizer.json has no model.vocab");
        }

        foreach (var added in root["added_tokens"] as JsonArray ?? [])
        {
            var id = added!["id"]!.GetValue<int>();
            _ids[added["content"]!.GetValue<string>()] = id;
            AddedIds.Add(id);
            if (added["special"]?.GetValue<bool>() == true)
            {
                SpecialIds.Add(id);
            }
        }

        var pieces = new string?[_ids.Values.DefaultIfEmpty(-1).Max() + 1];
        foreach (var (piece, id) in _ids)
        {
            pieces[id] = piece;
        }

        return pieces;
    }

    private static PieceEncoding EncodingOf(JsonObject root)
    {
        var decoders = Decoders(root).ToArray();
        return decoders.Contains("ByteLevel") ? PieceEncoding.ByteLevel
            : decoders.Contains("WordPiece") ? PieceEncoding.WordPiece
            : PieceEncoding.SentencePiece;
    }

    private static IEnumerable<string?> Decoders(JsonObject root) =>
        root["decoder"] switch
        {
            JsonObject decoder when decoder["decoders"] is JsonArray sequence => sequence.Select(TypeOf),
            JsonObject decoder => [TypeOf(decoder)],
            _ => [],
        };

    private static string? TypeOf(JsonNode? node) => node?["type"]?.GetValue<string>();

    // A special token is its text, or an object that holds its text.
    private int? Special(JsonNode? node) => node switch
    {
        JsonValue value when value.TryGetValue(out string? text) => IdOf(text),
        JsonObject token => token["content"] is JsonValue content ? IdOf(content.GetValue<string>()) : null,
        _ => null,
    };
}
