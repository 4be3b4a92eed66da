using Onnx;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Transforms.Shapes;

/// <summary>
/// Follows shapes, and the small integer tensors that exporters compute from them, through a graph. What an operator without a rule gives is
/// unknown, never guessed.
/// </summary>
/// <remarks>
/// Dimensions of a model's float inputs that carry one name are taken to be equal, which is what the name means in ONNX and what ONNX
/// Runtime's memory planner relies on. Those of integer inputs (ids, masks, positions) are not: callers let them broadcast.
/// </remarks>
internal sealed class ShapeInference
{
    private readonly Dictionary<OnnxValue, ValueFacts> _facts = [];
    private readonly Dictionary<string, SymbolicSize> _named = [];
    private readonly Dictionary<(string, string), SymbolicSize> _broadcasts = [];
    private int _symbols;

    internal ShapeInference(OnnxModel model)
    {
        foreach (var input in model.Graph.Proto.Input) Declare(model.Graph.Find(input.Name)!, input.Type?.TensorType);
        Follow(model.Graph);
    }

    internal ValueFacts Of(OnnxValue value)
    {
        if (_facts.TryGetValue(value, out var known)) return known;
        var facts = value.Constant is { } tensor ? new ValueFacts([.. tensor.Shape.Select(SymbolicSize.Of)], Content.Of(tensor)) : ValueFacts.Nothing;
        _facts[value] = facts;
        return facts;
    }

    /// <summary>A size that nothing is known of.</summary>
    internal SymbolicSize NewSize() => SymbolicSize.Unknown(_symbols++);

    /// <summary>Axes that a node is given: an attribute of older operator sets, an input of newer ones; null where they are not known.</summary>
    internal IReadOnlyList<long>? Axes(OnnxNode node, int input) => node.GetInts("axes") ?? Numbers(node, input);

    /// <summary>An input's elements, where all are known numbers.</summary>
    internal long[]? Numbers(OnnxNode node, int input) => node.Inputs.ElementAtOrDefault(input) is { } value ? Of(value).Content?.Numbers : null;

    internal IReadOnlyList<SymbolicSize>? Shape(OnnxNode node, int input) => node.Inputs.ElementAtOrDefault(input) is { } value ? Of(value).Shape : null;

    internal Content? ContentOf(OnnxNode node, int input) => node.Inputs.ElementAtOrDefault(input) is { } value ? Of(value).Content : null;

    /// <summary>The shape of two tensors' elementwise result. Two sizes of which either may be 1 give one that is not known.</summary>
    internal IReadOnlyList<SymbolicSize> Broadcast(IReadOnlyList<SymbolicSize> a, IReadOnlyList<SymbolicSize> b)
    {
        var rank = Math.Max(a.Count, b.Count);
        return [.. Enumerable.Range(0, rank).Select(axis => Broadcast(From(a, axis - (rank - a.Count)), From(b, axis - (rank - b.Count))))];
    }

    private static SymbolicSize From(IReadOnlyList<SymbolicSize> shape, int axis) => axis < 0 ? SymbolicSize.One : shape[axis];

    private SymbolicSize Broadcast(SymbolicSize a, SymbolicSize b)
    {
        if (a.Equals(b) || b.Value == 1) return a;
        if (a.Value == 1 || b.Value > 1) return b;
        if (a.Value > 1) return a;

        // Which of the two it is shows at run time, but it is the same wherever the two meet.
        var pair = string.CompareOrdinal(a.Key, b.Key) < 0 ? (a.Key, b.Key) : (b.Key, a.Key);
        return _broadcasts.TryGetValue(pair, out var known) ? known : _broadcasts[pair] = NewSize();
    }

    private void Declare(OnnxValue input, TypeProto.Types.Tensor? type)
    {
        if (type?.Shape is not { } shape) return;
        var isFloat = ((ElementType)type.ElemType).IsFloat();
        _facts[input] = new ValueFacts([.. shape.Dim.Select(dimension => dimension.ValueCase switch
        {
            TensorShapeProto.Types.Dimension.ValueOneofCase.DimValue when dimension.DimValue >= 0 => SymbolicSize.Of(dimension.DimValue),
            TensorShapeProto.Types.Dimension.ValueOneofCase.DimParam when isFloat && dimension.DimParam.Length > 0 => Named(dimension.DimParam),
            _ => NewSize(),
        })]);
    }

    private SymbolicSize Named(string name)
    {
        if (!_named.TryGetValue(name, out var size)) _named[name] = size = NewSize();
        return size;
    }

    private void Follow(OnnxGraph graph)
    {
        foreach (var node in graph.Nodes)
        {
            foreach (var body in node.Subgraphs) Follow(body);
            var shapes = ShapeRules.Apply(node, this);
            for (var i = 0; i < node.Outputs.Count; i++)
            {
                if (node.Outputs[i] is not { } output || output.Constant is not null) continue;
                var shape = shapes?.ElementAtOrDefault(i);
                _facts[output] = new ValueFacts(shape, i == 0 ? ContentRules.Apply(node, this, shape) : null);
            }
        }
    }
}
