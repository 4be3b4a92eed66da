namespace OrtQuant.GraphRewriter.Graph;

/// <summary>Reads fields of protobuf's wire format from a mapped file of any length.</summary>
internal struct WireReader(MappedFile file, long start, long end)
{
    /// <summary>A value of variable length; bytes after the tag and the length.</summary>
    public const int LengthDelimited = 2;

    /// <summary>Where the next byte is read.</summary>
    public long Position { get; private set; } = start;

    /// <summary>Whether there is another field.</summary>
    public readonly bool HasMore => Position < end;

    /// <summary>Reads a tag, and moves past the value of the field, or, of a length-delimited one, to its first byte.</summary>
    /// <returns>Field number, wire type, and bytes of the value from <see cref="Position"/> on (length-delimited) or before it.</returns>
    /// <exception cref="ModelFormatException">The field is malformed or goes past the end.</exception>
    public (int Field, int WireType, long Length) Next()
    {
        var at = Position;
        var tag = Varint();
        var (field, type) = (tag >> 3, (int)(tag & 7));
        if (field is 0 or > 0x1FFFFFFF) throw Malformed(at, $"field number is {field}");
        switch (type)
        {
            case 0:
                Varint();
                return ((int)field, type, 0);
            case 1:
                Skip(8, at);
                return ((int)field, type, 8);
            case LengthDelimited:
                var length = Varint();
                if (length > (ulong)(end - Position))
                {
                    throw Malformed(at, $"field {field} has {length} bytes and {end - Position} are left");
                }

                return ((int)field, type, (long)length);
            case 5:
                Skip(4, at);
                return ((int)field, type, 4);
            default:
                throw Malformed(at, $"field {field} has wire type {type}");
        }
    }

    /// <summary>Moves on by bytes that are known to be there.</summary>
    public void Advance(long bytes) => Position += bytes;

    private void Skip(int bytes, long at)
    {
        if (bytes > end - Position) throw Malformed(at, $"a value of {bytes} bytes goes past the end");
        Position += bytes;
    }

    private ulong Varint()
    {
        var at = Position;
        ulong value = 0;
        for (var shift = 0; shift < 64; shift += 7)
        {
            if (Position >= end) throw Malformed(at, "a number goes past the end");
            var next = file.Span(Position++, 1)[0];
            value |= (ulong)(next & 0x7F) << shift;
            if (next < 0x80) return value;
        }

        throw Malformed(at, "a number has more than 10 bytes");
    }

    private readonly ModelFormatException Malformed(long at, string what) =>
        new($"'{file.Path}' is no ONNX model, or a damaged one: at byte {at} {what}");
}
