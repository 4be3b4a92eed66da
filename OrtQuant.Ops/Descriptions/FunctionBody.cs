namespace OrtQuant.Descriptions;

/// <summary>
/// The body of a model-local function, as plain data: what ONNX Runtime runs in place of a custom op when the native library is
/// not registered. <c>OrtQuant.GraphRewriter</c> turns it into a <c>FunctionProto</c>.
/// </summary>
/// <param name="Variant">Name of this body among those of its op, unique within the op; it becomes the function's
/// <c>overload</c> where a model needs more than one body of the op.</param>
/// <param name="Inputs">Formal inputs: the present ones of the node, with an empty string nowhere (a body cannot consume an absent input).</param>
/// <param name="Outputs">Formal outputs.</param>
/// <param name="Attributes">Names of the node's attributes that the body reads by reference.</param>
/// <param name="Nodes">Nodes in topological order.</param>
public sealed record FunctionBody(
    string Variant,
    IReadOnlyList<string> Inputs,
    IReadOnlyList<string> Outputs,
    IReadOnlyList<string> Attributes,
    IReadOnlyList<FunctionNode> Nodes)
{
    /// <summary>Operator domains that the body uses, branches included.</summary>
    public IReadOnlySet<string> Domains => Nodes.SelectMany(n => n.DomainsUsed()).ToHashSet();
}

/// <summary>A node of a <see cref="FunctionBody"/>.</summary>
/// <param name="Domain">Operator domain, empty for the default one.</param>
/// <param name="OpType">Operator name.</param>
/// <param name="Inputs">Names of values; an empty string for an absent optional input.</param>
/// <param name="Outputs">Names of values.</param>
/// <param name="Attributes">Attributes.</param>
public sealed record FunctionNode(
    string Domain,
    string OpType,
    IReadOnlyList<string> Inputs,
    IReadOnlyList<string> Outputs,
    IReadOnlyList<FunctionAttribute> Attributes)
{
    internal IEnumerable<string> DomainsUsed() =>
        Attributes.OfType<GraphAttribute>().SelectMany(a => a.Graph.Nodes).SelectMany(n => n.DomainsUsed()).Prepend(Domain);
}

/// <summary>An attribute of a <see cref="FunctionNode"/>: a value, a reference to an attribute of the calling node, or a branch.</summary>
/// <param name="Name">Name on the node that carries it.</param>
public abstract record FunctionAttribute(string Name);

/// <summary>An attribute with a value of its own.</summary>
/// <param name="Value">Name and value.</param>
public sealed record ValueAttribute(OpAttributeValue Value) : FunctionAttribute(Value.Name);

/// <summary>An attribute that takes its value from the calling node (<c>ref_attr_name</c>).</summary>
/// <param name="Name">Name on the node that carries it.</param>
/// <param name="Source">Name on the calling node.</param>
/// <param name="Kind">Kind of the value.</param>
public sealed record ReferenceAttribute(string Name, string Source, AttributeKind Kind) : FunctionAttribute(Name);

/// <summary>A subgraph attribute.</summary>
/// <param name="Name">Name on the node that carries it.</param>
/// <param name="Graph">The branch.</param>
public sealed record GraphAttribute(string Name, FunctionGraph Graph) : FunctionAttribute(Name);

/// <summary>A branch of an <c>If</c>: no inputs, values of the surrounding body are visible by name.</summary>
/// <param name="Name">Name of the graph.</param>
/// <param name="Nodes">Nodes in topological order; their value names differ from those of the body and of other branches.</param>
/// <param name="Outputs">Names of the outputs.</param>
public sealed record FunctionGraph(string Name, IReadOnlyList<FunctionNode> Nodes, IReadOnlyList<string> Outputs);
