using Google.Protobuf;
using Onnx;
using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Rewriting;

/// <summary>Builds node messages.</summary>
internal static class Nodes
{
    internal static NodeProto Create(
        string domain, string opType, string name, IEnumerable<string> inputs, IEnumerable<string> outputs, params IEnumerable<OpAttributeValue> attributes)
    {
        var node = new NodeProto { OpType = opType, Name = name };
        if (domain.Length > 0) node.Domain = domain;
        node.Input.AddRange(inputs);
        node.Output.AddRange(outputs);
        node.Attribute.AddRange(attributes.Select(Attribute));
        return node;
    }

    internal static AttributeProto Attribute(OpAttributeValue value)
    {
        var attribute = new AttributeProto { Name = value.Name, Type = (AttributeProto.Types.AttributeType)value.Kind };
        switch (value.Kind)
        {
            case AttributeKind.Int:
                attribute.I = value.AsInt();
                break;
            case AttributeKind.Ints:
                attribute.Ints.AddRange(value.AsInts());
                break;
            case AttributeKind.Float:
                attribute.F = value.AsFloat();
                break;
            case AttributeKind.String:
                attribute.S = ByteString.CopyFromUtf8(value.AsString());
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(value), value.Kind, $"attribute '{value.Name}' is of kind {value.Kind}; it must be a number, a list of integers or a string");
        }

        return attribute;
    }
}
