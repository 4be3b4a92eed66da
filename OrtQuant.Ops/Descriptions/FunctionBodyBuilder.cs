using System.Globalization;

namespace OrtQuant.Descriptions;

/// <summary>
/// Writes a <see cref="FunctionBody"/> node by node. Every method adds one node (or a few) and returns the name of its output, so
/// that a body reads as an expression.
/// </summary>
internal sealed class FunctionBodyBuilder
{
    private readonly List<FunctionNode> _nodes = [];
    private readonly SortedSet<string> _attributes = new(StringComparer.Ordinal);
    private int _next;

    /// <summary>Finishes the body.</summary>
    public FunctionBody Build(string variant, IReadOnlyList<string> inputs, string output) =>
        Build(variant, inputs, [output]);

    /// <summary>Finishes a body of several outputs.</summary>
    public FunctionBody Build(string variant, IReadOnlyList<string> inputs, IReadOnlyList<string> outputs) =>
        new(variant, inputs, outputs, [.. _attributes], [.. _nodes]);

    /// <summary>A node with one output of a generated name, or of <paramref name="output"/>.</summary>
    public string Node(string opType, IReadOnlyList<string> inputs, IReadOnlyList<FunctionAttribute>? attributes = null, string domain = "", string? output = null)
    {
        string name = output ?? NextName(opType);
        _nodes.Add(new FunctionNode(domain, opType, inputs, [name], attributes ?? []));
        return name;
    }

    /// <summary>A reference to an attribute of the calling node.</summary>
    public ReferenceAttribute Reference(string name, string source, AttributeKind kind)
    {
        _attributes.Add(source);
        return new ReferenceAttribute(name, source, kind);
    }

    /// <summary>A constant int64 vector.</summary>
    public string Ints(params ReadOnlySpan<long> values) => Node("Constant", [], [new ValueAttribute(OpAttributeValue.Ints("value_ints", values))]);

    /// <summary>A constant int64 scalar.</summary>
    public string Int(long value) => Node("Constant", [], [new ValueAttribute(OpAttributeValue.Int("value_int", value))]);

    /// <summary>A constant float scalar.</summary>
    public string Float(float value) => Node("Constant", [], [new ValueAttribute(OpAttributeValue.Float("value_float", value))]);

    /// <summary>An integer attribute of the calling node as an int64 scalar.</summary>
    public string IntAttribute(string source) => Node("Constant", [], [Reference("value_int", source, AttributeKind.Int)]);

    /// <summary>A list attribute of the calling node as an int64 vector.</summary>
    public string IntsAttribute(string source) => Node("Constant", [], [Reference("value_ints", source, AttributeKind.Ints)]);

    /// <summary>Conversion to <paramref name="type"/>.</summary>
    public string Cast(string value, ElementType type) => Node("Cast", [value], [new ValueAttribute(OpAttributeValue.Int("to", (long)type))]);

    /// <summary>An attribute of the calling node handed on under another name.</summary>
    public ReferenceAttribute IntReference(string name, string source) => Reference(name, source, AttributeKind.Int);

    /// <summary>A constant uint8 vector.</summary>
    public string Bytes(params ReadOnlySpan<long> values) => Cast(Ints(values), ElementType.UInt8);

    /// <summary>Reshape to the shape in <paramref name="shape"/>, an int64 vector.</summary>
    public string Reshape(string value, string shape) => Node("Reshape", [value, shape]);

    /// <summary>Permutation of axes.</summary>
    public string Transpose(string value, params ReadOnlySpan<long> permutation) =>
        Node("Transpose", [value], [new ValueAttribute(OpAttributeValue.Ints("perm", permutation))]);

    /// <summary>The two-dimensional view whose rows are the first <paramref name="axis"/> axes: a copy that needs no shape.</summary>
    public string Flatten(string value, long axis) => Node("Flatten", [value], [new ValueAttribute(OpAttributeValue.Int("axis", axis))]);

    /// <summary>A new axis of length 1.</summary>
    public string Unsqueeze(string value, long axis) => Node("Unsqueeze", [value, Ints(axis)]);

    /// <summary>Elements <paramref name="start"/> to <paramref name="end"/> (exclusive) along an axis.</summary>
    public string Slice(string value, long start, long end, long axis) => Node("Slice", [value, Ints(start), Ints(end), Ints(axis)]);

    /// <summary>Parts along an axis, of the sizes in <paramref name="sizes"/>, an int64 vector.</summary>
    public IReadOnlyList<string> Split(string value, string sizes, long axis, int count)
    {
        string[] parts = [.. Enumerable.Range(0, count).Select(_ => NextName("split"))];
        _nodes.Add(new FunctionNode("", "Split", [value, sizes], parts, [new ValueAttribute(OpAttributeValue.Int("axis", axis))]));
        return parts;
    }

    /// <summary>Zeros put at, or elements taken from, the ends of the axes, as the calling node's attribute says (ONNX <c>pads</c>; negative ones crop).</summary>
    public string PadBy(string value, string attribute) => Node("Pad", [value, IntsAttribute(attribute)]);

    /// <summary>Elementwise shift to the left; bits past the eighth are lost, which is what isolates a field.</summary>
    public string ShiftLeft(string value, string by) => Shift(value, by, "LEFT");

    /// <summary>Elementwise shift to the right, zeros come in.</summary>
    public string ShiftRight(string value, string by) => Shift(value, by, "RIGHT");

    private string Shift(string value, string by, string direction) =>
        Node("BitShift", [value, by], [new ValueAttribute(OpAttributeValue.String("direction", direction))]);

    private string NextName(string hint) => string.Create(CultureInfo.InvariantCulture, $"{hint.ToLowerInvariant()}_{_next++}");
}
