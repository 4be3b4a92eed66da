namespace OrtQuant.Descriptions;

/// <summary>
/// The body of a model-local function, as plain data: what ONNX Runtime runs in place of a custom op when the native library is
/// not registered. <c>OrtQuant.GraphRewriter</c> turns it into a <c>FunctionProto</c>. It has no branches: ONNX Runtime folds the
/// nodes of both branches of an <c>If</c> before it drops one, which costs the memory and time of each.
/// </summary>
/// <param name="Variant">Name of this body among those of its op, unique within the op; it becomes the function's
/// <c>overload</c> where a model needs more than one body of the op.</param>
/// <param name="Inputs">Formal inputs, by position: those of the op up to the last one that the body reads. A node may leave out one
/// that the body does not read, or hands on to an optional input; anything else that reads an absent value fails to load.</param>
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
    /// <summary>Whether the body rounds activations to int8 at accuracy level 4, as kernels do. One that does not is exact where kernels are not.</summary>
    public bool RoundsActivations { get; init; } = true;

    /// <summary>Operator domains that the body uses.</summary>
    public IReadOnlySet<string> Domains => Nodes.Select(node => node.Domain).ToHashSet();
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
    IReadOnlyList<FunctionAttribute> Attributes);

/// <summary>An attribute of a <see cref="FunctionNode"/>: a value, or a reference to an attribute of the calling node.</summary>
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
