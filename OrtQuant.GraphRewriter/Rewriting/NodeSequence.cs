using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Rewriting;

/// <summary>
/// Puts new nodes, one after the other, where the first of some old ones was: what the old ones read is there by then, and nothing that
/// reads their results comes before.
/// </summary>
internal sealed class NodeSequence
{
    private readonly OnnxGraph _graph;
    private readonly OnnxNode? _next;

    /// <summary>Remembers the place. The old nodes may be removed afterwards.</summary>
    internal NodeSequence(OnnxGraph graph, IEnumerable<OnnxNode> old, IEnumerable<OnnxNode?> alsoRemoved)
    {
        _graph = graph;
        var places = old.ToHashSet();
        var gone = places.Concat(alsoRemoved).ToHashSet();
        _next = graph.Nodes.SkipWhile(node => !places.Contains(node)).FirstOrDefault(node => !gone.Contains(node));
    }

    /// <summary>Adds a standard node with one output.</summary>
    /// <returns>Name of the output: <paramref name="output"/>, or a new one.</returns>
    internal string Add(string opType, string name, IEnumerable<string> inputs, string? output = null, params IEnumerable<OpAttributeValue> attributes)
    {
        var result = output ?? _graph.UniqueName($"{name}_output");
        Add("", opType, name, inputs, [result], attributes);
        return result;
    }

    /// <summary>Adds a node.</summary>
    internal OnnxNode Add(
        string domain, string opType, string name, IEnumerable<string> inputs, IEnumerable<string> outputs, params IEnumerable<OpAttributeValue> attributes)
    {
        var node = Nodes.Create(domain, opType, name, inputs, outputs, attributes);
        return _next is null ? _graph.AddNode(node) : _graph.InsertBefore(_next, node);
    }
}
