namespace OrtQuant.GraphRewriter.Graph;

/// <summary>
/// Copies a serialized model without the bulk of its tensors: <c>raw_data</c> of <see cref="Threshold"/> bytes and more becomes a
/// reference to the place where it stands in the model file. What is left is small enough to be parsed as protobuf objects, and the bulk stays
/// where it is, mapped.
/// </summary>
internal static class WireStripper
{
    /// <summary>Location of a tensor whose data is part of the model file itself; no file can have this name.</summary>
    internal const string ModelFile = "\u0001model";

    /// <summary>Bytes from which raw data is left in the file.</summary>
    internal const int Threshold = 4096;

    // As deep as protobuf itself reads messages.
    private const int DeepestNesting = 100;
    private const int RawData = 9;

    private enum Kind
    {
        Other,
        Model,
        Graph,
        Node,
        Attribute,
        Tensor,
        Function,
    }

    /// <summary>Strips a serialized ModelProto.</summary>
    /// <exception cref="ModelFormatException">The bytes are no protobuf message.</exception>
    internal static byte[] Strip(ReadOnlySpan<byte> model)
    {
        using var output = new MemoryStream();
        Copy(model, 0, Kind.Model, output, 0);
        return output.ToArray();
    }

    private static Kind Child(Kind kind, int field) => (kind, field) switch
    {
        (Kind.Model, 7) => Kind.Graph,
        (Kind.Model, 25) => Kind.Function,
        (Kind.Graph, 1) or (Kind.Function, 7) => Kind.Node,
        (Kind.Graph, 5) => Kind.Tensor,
        (Kind.Node, 5) or (Kind.Function, 11) => Kind.Attribute,
        (Kind.Attribute, 5 or 10) => Kind.Tensor,
        (Kind.Attribute, 6 or 11) => Kind.Graph,
        _ => Kind.Other,
    };

    private static void Copy(ReadOnlySpan<byte> message, long start, Kind kind, MemoryStream output, int depth)
    {
        if (depth > DeepestNesting) throw new ModelFormatException($"messages are nested more than {DeepestNesting} deep");
        for (var at = 0; at < message.Length;)
        {
            var field = at;
            var tag = ReadVarint(message, ref at);
            var number = (int)(tag >> 3);
            switch ((int)(tag & 7))
            {
                case 0:
                    ReadVarint(message, ref at);
                    break;
                case 1:
                    at = Skip(message, at, 8);
                    break;
                case 5:
                    at = Skip(message, at, 4);
                    break;
                case 2:
                    var length = ReadVarint(message, ref at);
                    if (length > (ulong)(message.Length - at)) throw Truncated(start + at);
                    var body = message.Slice(at, (int)length);
                    if (kind == Kind.Tensor && number == RawData && body.Length >= Threshold)
                    {
                        WriteReference(output, start + at, body.Length);
                        at += body.Length;
                        continue;
                    }

                    if (Child(kind, number) is var child and not Kind.Other)
                    {
                        using var nested = new MemoryStream();
                        Copy(body, start + at, child, nested, depth + 1);
                        WriteField(output, number, nested.GetBuffer().AsSpan(0, (int)nested.Length));
                        at += body.Length;
                        continue;
                    }

                    at += body.Length;
                    break;
                default:
                    throw new ModelFormatException($"byte {start + field} starts a field of wire type {tag & 7}, which ONNX does not use: not an ONNX model, or damaged");
            }

            output.Write(message[field..at]);
        }
    }

    /// <summary>What an external tensor has in place of raw_data: external_data (13) entries and data_location (14) = EXTERNAL.</summary>
    private static void WriteReference(MemoryStream output, long offset, long length)
    {
        WriteEntry(output, "location", ModelFile);
        WriteEntry(output, "offset", offset.ToString(System.Globalization.CultureInfo.InvariantCulture));
        WriteEntry(output, "length", length.ToString(System.Globalization.CultureInfo.InvariantCulture));
        WriteVarint(output, 14 << 3);
        WriteVarint(output, 1);
    }

    private static void WriteEntry(MemoryStream output, string key, string value)
    {
        using var entry = new MemoryStream();
        WriteField(entry, 1, System.Text.Encoding.UTF8.GetBytes(key));
        WriteField(entry, 2, System.Text.Encoding.UTF8.GetBytes(value));
        WriteField(output, 13, entry.GetBuffer().AsSpan(0, (int)entry.Length));
    }

    private static void WriteField(MemoryStream output, int number, ReadOnlySpan<byte> body)
    {
        WriteVarint(output, ((ulong)number << 3) | 2);
        WriteVarint(output, (ulong)body.Length);
        output.Write(body);
    }

    private static void WriteVarint(MemoryStream output, ulong value)
    {
        for (; value >= 0x80; value >>= 7) output.WriteByte((byte)(value | 0x80));
        output.WriteByte((byte)value);
    }

    private static ulong ReadVarint(ReadOnlySpan<byte> message, ref int at)
    {
        var value = 0UL;
        for (var shift = 0; shift < 64; shift += 7)
        {
            if (at >= message.Length) throw Truncated(at);
            var next = message[at++];
            value |= (ulong)(next & 0x7F) << shift;
            if (next < 0x80) return value;
        }

        throw new ModelFormatException("a number has more than 64 bits: not an ONNX model, or damaged");
    }

    private static int Skip(ReadOnlySpan<byte> message, int at, int count) =>
        count <= message.Length - at ? at + count : throw Truncated(at);

    private static ModelFormatException Truncated(long at) => new($"the file ends inside a field (near byte {at}): truncated, damaged, or not an ONNX model");
}
