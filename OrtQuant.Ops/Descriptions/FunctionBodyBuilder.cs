using System.Globalization;

namespace OrtQuant.Descriptions;

/// <summary>
/// Writes a <see cref="FunctionBody"/> node by node. Every method adds one node (or a few) and returns the name of its output, so
/// that a body reads as an expression. Value names are unique over the body and its branches.
/// </summary>
internal sealed class FunctionBodyBuilder
{
    private readonly List<FunctionNode> _nodes = [];
    private readonly SortedSet<string> _attributes;
    private readonly Counter _counter;

    /// <summary>Starts an empty body.</summary>
    public FunctionBodyBuilder()
        : this(new SortedSet<string>(StringComparer.Ordinal), new Counter())
    {
    }

    private FunctionBodyBuilder(SortedSet<string> attributes, Counter counter) => (_attributes, _counter) = (attributes, counter);

    /// <summary>Finishes the body.</summary>
    public FunctionBody Build(string variant, IReadOnlyList<string> inputs, string output) =>
        new(variant, inputs, [output], [.. _attributes], [.. _nodes]);

    /// <summary>A node with one output of a generated name, or of <paramref name="output"/>.</summary>
    public string Node(string opType, IReadOnlyList<string> inputs, IReadOnlyList<FunctionAttribute>? attributes = null, string domain = "", string? output = null)
    {
        string name = output ?? _counter.Next(opType);
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

    /// <summary>An integer attribute of the calling node as an int64 scalar.</summary>
    public string IntAttribute(string source) => Node("Constant", [], [Reference("value_int", source, AttributeKind.Int)]);

    /// <summary>A list attribute of the calling node as an int64 vector.</summary>
    public string IntsAttribute(string source) => Node("Constant", [], [Reference("value_ints", source, AttributeKind.Ints)]);

    /// <summary>Conversion to <paramref name="type"/>.</summary>
    public string Cast(string value, ElementType type) => Node("Cast", [value], [new ValueAttribute(OpAttributeValue.Int("to", (long)type))]);

    /// <summary>A constant uint8 vector.</summary>
    public string Bytes(params ReadOnlySpan<long> values) => Cast(Ints(values), ElementType.UInt8);

    /// <summary>A list attribute of the calling node as a uint8 vector.</summary>
    public string BytesAttribute(string source) => Cast(IntsAttribute(source), ElementType.UInt8);

    /// <summary>Reshape to the shape in <paramref name="shape"/>, an int64 vector.</summary>
    public string Reshape(string value, string shape) => Node("Reshape", [value, shape]);

    /// <summary>Permutation of axes.</summary>
    public string Transpose(string value, params ReadOnlySpan<long> permutation) =>
        Node("Transpose", [value], [new ValueAttribute(OpAttributeValue.Ints("perm", permutation))]);

    /// <summary>Elementwise shift to the left; bits past the eighth are lost, which is what isolates a field.</summary>
    public string ShiftLeft(string value, string by) => Shift(value, by, "LEFT");

    /// <summary>Elementwise shift to the right, zeros come in.</summary>
    public string ShiftRight(string value, string by) => Shift(value, by, "RIGHT");

    /// <summary><c>condition ? then : otherwise</c>. ONNX Runtime folds it away when the condition is a constant.</summary>
    /// <param name="condition">A bool scalar.</param>
    /// <param name="then">Writes the branch and returns its output.</param>
    /// <param name="otherwise">Writes the other branch and returns its output.</param>
    public string If(string condition, Func<FunctionBodyBuilder, string> then, Func<FunctionBodyBuilder, string> otherwise) =>
        Node("If", [condition], [new GraphAttribute("then_branch", Branch("then", then)), new GraphAttribute("else_branch", Branch("else", otherwise))]);

    /// <summary>Whether an integer attribute of the calling node equals <paramref name="value"/>, as a bool scalar.</summary>
    public string AttributeEquals(string source, long value) => Node("Equal", [IntAttribute(source), Int(value)]);

    private string Shift(string value, string by, string direction) =>
        Node("BitShift", [value, by], [new ValueAttribute(OpAttributeValue.String("direction", direction))]);

    private FunctionGraph Branch(string name, Func<FunctionBodyBuilder, string> write)
    {
        var inner = new FunctionBodyBuilder(_attributes, _counter);
        string output = write(inner);
        return new FunctionGraph(_counter.Next(name), [.. inner._nodes], [output]);
    }

    private sealed class Counter
    {
        private int _next;

        public string Next(string hint) => string.Create(CultureInfo.InvariantCulture, $"{hint.ToLowerInvariant()}_{_next++}");
    }
}
