using Onnx;
using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>A named value of a graph, with what produces it and what reads it.</summary>
public sealed class OnnxValue
{
    private readonly List<Use> _uses = [];
    private readonly List<ValueInfoProto> _infos = [];
    private TensorProto? _initializer;
    private LazyTensor? _tensor;

    internal OnnxValue(OnnxGraph graph, string name)
    {
        Graph = graph;
        Name = name;
    }

    /// <summary>The name, unique in <see cref="Graph"/>.</summary>
    public string Name { get; }

    /// <summary>The graph that defines the value.</summary>
    public OnnxGraph Graph { get; }

    /// <summary>The node that produces it; null for inputs and initializers.</summary>
    public OnnxNode? Producer { get; internal set; }

    /// <summary>Whether an initializer (a sparse one too) has this name, overridable or not.</summary>
    public bool IsInitializer => _initializer is not null || IsSparse;

    /// <summary>Whether the graph takes it as an input; an initializer that does is only a default.</summary>
    public bool IsGraphInput { get; internal set; }

    /// <summary>Whether it is an output of the graph that defines it.</summary>
    public bool IsGraphOutput { get; internal set; }

<<<<<<< Updated upstream
    /// <summary>An initializer; one that is a graph input as well is a default that a caller may replace.</summary>
    public bool IsInitializer => Graph.InitializerOf(Name) is not null;

    /// <summary>The constant that this is: an initializer that no graph input overrides, or the output of a Constant node.</summary>
    public LazyTensor? Constant => Graph.ConstantOf(this);

    /// <summary>The data of the initializer of this name, even of one that a caller may replace.</summary>
    internal LazyTensor? Initializer => Graph.InitializerOf(Name) is { } proto ? Graph.Model.Tensors.Find(proto) : null;

    /// <summary>Its readers, nested graphs included, in no particular order across graphs.</summary>
=======
    /// <summary>Every input that reads it, in inner graphs too, in graph order.</summary>
>>>>>>> Stashed changes
    public IReadOnlyList<Use> Uses => _uses;

    /// <summary>
    /// The data of the initializer or Constant node that defines it; null where the value is computed, where a caller may replace it, and
    /// for strings and sparse tensors.
    /// </summary>
    public LazyTensor? Constant => IsGraphInput ? null : Tensor;

    /// <summary>Element type, as far as the model declares it; else <see cref="ElementType.Undefined"/>.</summary>
    public ElementType Type => Declared is { } declared
        ? (ElementType)declared.ElemType
        : _initializer is not null ? (ElementType)_initializer.DataType : Tensor?.Type ?? ElementType.Undefined;

    /// <summary>Dimensions, as far as the model declares them; -1 for one that is symbolic or unknown. Null where not even the rank is known.</summary>
    public IReadOnlyList<long>? Shape => Declared?.Shape is { } shape
        ? [.. shape.Dim.Select(dimension => dimension.HasDimValue ? dimension.DimValue : -1)]
        : _initializer is not null ? _initializer.Dims : Tensor?.Shape;

    /// <summary>The initializer's message.</summary>
    internal TensorProto? Initializer
    {
        get => _initializer;
        set
        {
            _initializer = value;
            _tensor = null;
        }
    }

    internal bool IsSparse { get; set; }

    /// <summary>Declarations of its type: as input, output, or inner value.</summary>
    internal List<ValueInfoProto> Infos => _infos;

    /// <summary>The data of the initializer, even of one that a caller may replace, or of the Constant node.</summary>
    internal LazyTensor? Tensor => _tensor ??= _initializer is not null ? Graph.Model.Tensors.Tensor(_initializer) : Producer?.ConstantTensor;

    private TypeProto.Types.Tensor? Declared => _infos.Find(info => info.Type?.TensorType is { HasElemType: true })?.Type.TensorType;

    /// <inheritdoc/>
    public override string ToString() => Name;

    internal void AddUse(Use use) => _uses.Add(use);

    internal void RemoveUse(Use use) => _uses.Remove(use);
}
