using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Google.Protobuf;
using Onnx;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>Raw data of one tensor inside a model file.</summary>
/// <param name="Offset">First byte in the file.</param>
/// <param name="Length">Number of bytes.</param>
internal readonly record struct RawDataSpan(long Offset, long Length);

/// <summary>
/// Copies the wire form of a model without the raw data of its tensors, so that parsing does not bring weights into memory. In the place of raw
/// data stands an external-data entry that says which of <see cref="Spans"/> it was.
/// </summary>
internal sealed class ModelSlimmer
{
    // Messages this short cannot hold raw data worth leaving out and are copied as they are.
    private const int SmallestRawData = 1024;

    // Google.Protobuf's own limit: what is nested deeper it would not parse.
    private const int DeepestNesting = 100;
    private const int PaddedLength = 5;

    // Fields of the message types on the way to a tensor: field number -> type of message.
    private static readonly Dictionary<Message, Dictionary<int, Message>> Children = new()
    {
        [Message.Model] = new()
        {
            [ModelProto.GraphFieldNumber] = Message.Graph,
            [ModelProto.FunctionsFieldNumber] = Message.Function,
        },
        [Message.Graph] = new()
        {
            [GraphProto.NodeFieldNumber] = Message.Node,
            [GraphProto.InitializerFieldNumber] = Message.Tensor,
            [GraphProto.SparseInitializerFieldNumber] = Message.SparseTensor,
        },
        [Message.Function] = new()
        {
            [FunctionProto.NodeFieldNumber] = Message.Node,
            [FunctionProto.AttributeProto_FieldNumber] = Message.Attribute,
        },
        [Message.Node] = new() { [NodeProto.AttributeFieldNumber] = Message.Attribute },
        [Message.Attribute] = new()
        {
            [AttributeProto.TFieldNumber] = Message.Tensor,
            [AttributeProto.TensorsFieldNumber] = Message.Tensor,
            [AttributeProto.GFieldNumber] = Message.Graph,
            [AttributeProto.GraphsFieldNumber] = Message.Graph,
            [AttributeProto.SparseTensorFieldNumber] = Message.SparseTensor,
            [AttributeProto.SparseTensorsFieldNumber] = Message.SparseTensor,
        },
        [Message.SparseTensor] = new()
        {
            [SparseTensorProto.ValuesFieldNumber] = Message.Tensor,
            [SparseTensorProto.IndicesFieldNumber] = Message.Tensor,
        },
        [Message.Tensor] = [],
    };

    private readonly MappedFile _file;
    private readonly MemoryStream _output = new();
    private readonly List<RawDataSpan> _spans = [];

    // Unknown to whoever wrote the file: its own external data cannot pass for one of ours.
    private readonly string _key = $"ortquant.raw.{Guid.NewGuid():N}";

    private ModelSlimmer(MappedFile file) => _file = file;

    private enum Message
    {
        Model,
        Graph,
        Function,
        Node,
        Attribute,
        SparseTensor,
        Tensor,
    }

    /// <summary>What was left out.</summary>
    public IReadOnlyList<RawDataSpan> Spans => _spans;

    /// <summary>The wire form of what is left.</summary>
    public ReadOnlySpan<byte> Bytes => _output.GetBuffer().AsSpan(0, (int)_output.Length);

    /// <summary>Copies a model.</summary>
    /// <exception cref="ModelFormatException">The file is damaged, or nested too deep, or has 2 GiB or more without raw data.</exception>
    public static ModelSlimmer Run(MappedFile file)
    {
        var slimmer = new ModelSlimmer(file);
        slimmer.Copy(Message.Model, 0, file.Length, 0);
        return slimmer;
    }

    /// <summary>The raw data that a message had in the file; takes the entry that says so out of the message.</summary>
    public RawDataSpan? TakeSpan(TensorProto tensor)
    {
        RawDataSpan? span = null;
        for (var i = tensor.ExternalData.Count - 1; i >= 0; i--)
        {
            var entry = tensor.ExternalData[i];
            if (entry.Key != _key) continue;
            span ??= _spans[int.Parse(entry.Value, CultureInfo.InvariantCulture)];
            tensor.ExternalData.RemoveAt(i);
        }

        return span;
    }

    private void Copy(Message message, long start, long end, int depth)
    {
        if (depth > DeepestNesting)
        {
            throw new ModelFormatException($"'{_file.Path}' has messages nested deeper than {DeepestNesting} at byte {start}");
        }

        var children = Children[message];
        var reader = new WireReader(_file, start, end);
        var copied = start;
        while (reader.HasMore)
        {
            var at = reader.Position;
            var (field, wireType, length) = reader.Next();
            if (wireType != WireReader.LengthDelimited) continue;
            var value = reader.Position;
            reader.Advance(length);
            if (length < SmallestRawData) continue;
            if (message == Message.Tensor && field == TensorProto.RawDataFieldNumber)
            {
                CopyBytes(copied, at);
                copied = reader.Position;
                _spans.Add(new RawDataSpan(value, length));
                WriteReference(_spans.Count - 1);
            }
            else if (children.TryGetValue(field, out var child))
            {
                CopyBytes(copied, at);
                copied = reader.Position;
                WriteTag(field);
                var lengthAt = ReserveLength();
                Copy(child, value, value + length, depth + 1);
                PatchLength(lengthAt);
            }
        }

        CopyBytes(copied, end);
    }

    private void CopyBytes(long start, long end)
    {
        if (end - start > int.MaxValue - _output.Length)
        {
            throw new ModelFormatException($"'{_file.Path}' has more than {int.MaxValue} bytes besides raw data; protobuf permits no more");
        }

        _output.Write(_file.Span(start, (int)(end - start)));
    }

    private void WriteReference(int index)
    {
        var entry = new StringStringEntryProto { Key = _key, Value = index.ToString(CultureInfo.InvariantCulture) }.ToByteArray();
        WriteTag(TensorProto.ExternalDataFieldNumber);
        WriteVarint((uint)entry.Length);
        _output.Write(entry);
    }

    private void WriteTag(int field) => WriteVarint(((uint)field << 3) | WireReader.LengthDelimited);

    private void WriteVarint(uint value)
    {
        for (; value >= 0x80; value >>= 7) _output.WriteByte((byte)(value | 0x80));
        _output.WriteByte((byte)value);
    }

    /// <summary>Room for a length that is not known yet: a varint may have more bytes than it needs.</summary>
    private long ReserveLength()
    {
        var at = _output.Position;
        _output.Write([0x80, 0x80, 0x80, 0x80, 0]);
        return at;
    }

    private void PatchLength(long at)
    {
        var length = (uint)(_output.Length - at - PaddedLength);
        var bytes = _output.GetBuffer().AsSpan((int)at, PaddedLength);
        for (var i = 0; i < PaddedLength; i++) bytes[i] |= (byte)((length >> (7 * i)) & 0x7F);
    }
}
