using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Matching;

/// <summary>What the names of a pattern stand for in one match.</summary>
internal sealed class Bindings
{
    private readonly Dictionary<string, OnnxNode> _nodes = [];
    private readonly Dictionary<string, OnnxValue> _values = [];
    private readonly Dictionary<string, ConstantView> _constants = [];

    internal OnnxNode Node(string name) => _nodes[name];

    internal OnnxValue Value(string name) => _values[name];

    internal ConstantView Constant(string name) => _constants[name];

    /// <summary>The constant, or null where the pattern allows the input to be absent or computed and it is.</summary>
    internal ConstantView? ConstantOrNull(string name) => _constants.GetValueOrDefault(name);

    /// <summary>The value, or null where the pattern allows the input to be absent and it is.</summary>
    internal OnnxValue? ValueOrNull(string name) => _values.GetValueOrDefault(name);

    internal void Bind(string name, OnnxNode node) => _nodes[name] = node;

    internal void Bind(string name, OnnxValue value) => _values[name] = value;

    internal void Bind(string name, ConstantView constant) => _constants[name] = constant;

    internal void CopyFrom(Bindings other)
    {
        foreach (var (name, node) in other._nodes) _nodes[name] = node;
        foreach (var (name, value) in other._values) _values[name] = value;
        foreach (var (name, constant) in other._constants) _constants[name] = constant;
    }
}
