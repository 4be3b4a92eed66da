using System.Globalization;
using System.Text;

namespace OrtQuant.GraphRewriter.Running;

/// <summary>Turns ids into text one at a time. A character whose bytes are spread over several ids comes out with the last of them.</summary>
public sealed class TokenDecoder(TokenizerFile file)
{
    private const char SentencePieceSpace = '\u2581';
    private static readonly Lazy<Dictionary<char, byte>> BytesOfCharacters = new(ByteLevelAlphabet);

    private readonly Decoder _utf8 = Encoding.UTF8.GetDecoder();
    private bool _atStart = true;

    /// <summary>The text that <paramref name="id"/> completes; empty for control tokens and parts of a character.</summary>
    public string Append(long id)
    {
        if (id < 0 || id >= file.Pieces.Count || file.Pieces[(int)id] is not { } piece || file.SpecialIds.Contains((int)id))
        {
            return "";
        }

        var bytes = file.AddedIds.Contains((int)id) ? Encoding.UTF8.GetBytes(piece) : BytesOf(piece);
        var text = Decode(bytes, flush: false);
        if (_atStart && text.Length > 0)
        {
            _atStart = false;
            if (file.StripsLeadingSpace && text[0] == ' ')
            {
                text = text[1..];
            }
        }

        return text;
    }

    /// <summary>What is left at the end: U+FFFD for a character that was never completed.</summary>
    public string Flush() => Decode([], flush: true);

    private byte[] BytesOf(string piece)
    {
        switch (file.Encoding)
        {
            case PieceEncoding.ByteLevel:
                return [.. piece.Select(character => BytesOfCharacters.Value.GetValueOrDefault(character))];
            case PieceEncoding.WordPiece:
                return Encoding.UTF8.GetBytes(piece.StartsWith("##", StringComparison.Ordinal) ? piece[2..] : _atStart ? piece : " " + piece);
            default:
                return piece is ['<', '0', 'x', _, _, '>'] && byte.TryParse(piece.AsSpan(3, 2), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var single)
                    ? [single]
                    : Encoding.UTF8.GetBytes(piece.Replace(SentencePieceSpace, ' '));
        }
    }

    private string Decode(byte[] bytes, bool flush)
    {
        var characters = new char[Encoding.UTF8.GetMaxCharCount(bytes.Length) + 2];
        return new string(characters, 0, _utf8.GetChars(bytes, characters, flush));
    }

    // GPT-2's alphabet: printable bytes stand for themselves, the others for the characters from U+0100 on, in order.
    private static Dictionary<char, byte> ByteLevelAlphabet()
    {
        var alphabet = new Dictionary<char, byte>();
        var next = 0x100;
        for (var value = 0; value < 256; value++)
        {
            var printable = value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            alphabet.Add((char)(printable ? value : next++), (byte)value);
        }

        return alphabet;
    }
}
