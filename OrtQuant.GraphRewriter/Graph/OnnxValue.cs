using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>One reader of a value.</summary>
/// <param name="Node">The node; it may be in a graph nested in the value's own.</param>
/// <param name="Index">Which of its inputs.</param>
public readonly record struct Use(OnnxNode Node, int Index);

/// <summary>A named value of a graph: an input, an initializer, or an output of a node.</summary>
public sealed class OnnxValue
{
    private readonly List<Use> _uses = [];

    internal OnnxValue(OnnxGraph graph, string name) => (Graph, Name) = (graph, name);

    /// <summary>The graph that defines it.</summary>
    public OnnxGraph Graph { get; }

    /// <summary>Unique within its graph.</summary>
    public string Name { get; }

    /// <summary>The node that computes it; null for inputs and initializers.</summary>
    public OnnxNode? Producer { get; internal set; }

    /// <summary>An input of the graph.</summary>
    public bool IsGraphInput { get; internal set; }

    /// <summary>An output of the graph.</summary>
    public bool IsGraphOutput { get; internal set; }

    /// <summary>An initializer; one that is a graph input as well is a default that a caller may replace.</summary>
    public bool IsInitializer => Graph.InitializerOf(Name) is not null;

    /// <summary>The constant that this is: an initializer that no graph input overrides, or the output of a Constant node.</summary>
    public LazyTensor? Constant => Graph.ConstantOf(this);

    /// <summary>The data of the initializer of this name, even of one that a caller may replace.</summary>
    internal LazyTensor? Initializer => Graph.InitializerOf(Name) is { } proto ? Graph.Model.Tensors.Find(proto) : null;

    /// <summary>Its readers, nested graphs included, in no particular order across graphs.</summary>
    public IReadOnlyList<Use> Uses => _uses;

    /// <summary>Element type, where the model says it.</summary>
    public ElementType? Type => Constant?.Type ?? Graph.DeclaredType(Name);

    /// <summary>Dimensions, -1 for a symbolic one, where the model says them.</summary>
    public IReadOnlyList<long>? Shape => Constant?.Shape ?? Graph.DeclaredShape(Name);

    /// <inheritdoc/>
    public override string ToString() => Name;

    internal void AddUse(OnnxNode node, int index) => _uses.Add(new Use(node, index));

    internal void RemoveUse(OnnxNode node, int index) => _uses.Remove(new Use(node, index));
}
