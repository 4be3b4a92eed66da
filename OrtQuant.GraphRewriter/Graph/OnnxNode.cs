using Onnx;
using OrtQuant.Descriptions;
using AttributeType = Onnx.AttributeProto.Types.AttributeType;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>A node of a graph, with the values it reads and writes.</summary>
public sealed class OnnxNode
{
    private readonly List<OnnxValue?> _inputs = [];
    private readonly List<OnnxValue?> _outputs = [];
    private readonly List<OnnxGraph> _subgraphs = [];

    internal OnnxNode(OnnxGraph graph, NodeProto proto) => (Graph, Proto) = (graph, proto);

    /// <summary>The graph it is in.</summary>
    public OnnxGraph Graph { get; }

    /// <summary>The node as ONNX stores it. Inputs and outputs are changed through this class only.</summary>
    public NodeProto Proto { get; }

    /// <summary>Operator type.</summary>
    public string OpType => Proto.OpType;

    /// <summary>Operator domain; empty for ONNX's own, however the file spells it.</summary>
    public string Domain => Proto.Domain == "ai.onnx" ? "" : Proto.Domain;

    /// <summary>Name in the file; may be empty.</summary>
    public string Name => Proto.Name;

    /// <summary>Values read; null for an optional input that is left out.</summary>
    public IReadOnlyList<OnnxValue?> Inputs => _inputs;

    /// <summary>Values written; null for an optional output that is left out.</summary>
    public IReadOnlyList<OnnxValue?> Outputs => _outputs;

    /// <summary>Bodies of an If, Loop or Scan.</summary>
    public IReadOnlyList<OnnxGraph> Subgraphs => _subgraphs;

    /// <summary>A name to show: the node's own, or its first output's.</summary>
    public string DisplayName() => Name.Length > 0 ? Name : Outputs.FirstOrDefault(output => output is not null)?.Name ?? OpType;

    /// <summary>The attribute as stored, or null.</summary>
    public AttributeProto? Attribute(string name) => Proto.Attribute.FirstOrDefault(attribute => attribute.Name == name);

    /// <summary>An integer attribute.</summary>
    /// <exception cref="ModelFormatException">The attribute is of another kind.</exception>
    public long GetInt(string name, long missing) => Attribute(name, AttributeType.Int) is { } attribute ? attribute.I : missing;

    /// <summary>A float attribute.</summary>
    /// <exception cref="ModelFormatException">The attribute is of another kind.</exception>
    public float GetFloat(string name, float missing) => Attribute(name, AttributeType.Float) is { } attribute ? attribute.F : missing;

    /// <summary>A string attribute.</summary>
    /// <exception cref="ModelFormatException">The attribute is of another kind.</exception>
    public string? GetString(string name) => Attribute(name, AttributeType.String)?.S.ToStringUtf8();

    /// <summary>A list of integers.</summary>
    /// <exception cref="ModelFormatException">The attribute is of another kind.</exception>
    public IReadOnlyList<long>? GetInts(string name) => Attribute(name, AttributeType.Ints)?.Ints;

    /// <summary>Reads another value at an input.</summary>
    public void SetInput(int index, OnnxValue? value)
    {
        while (_inputs.Count <= index)
        {
            _inputs.Add(null);
            Proto.Input.Add("");
        }

        _inputs[index]?.RemoveUse(this, index);
        _inputs[index] = value;
        Proto.Input[index] = value?.Name ?? "";
        value?.AddUse(this, index);
    }

    internal void Link(IEnumerable<OnnxValue?> inputs, IEnumerable<OnnxValue?> outputs, IEnumerable<OnnxGraph> subgraphs)
    {
        _inputs.AddRange(inputs);
        for (var i = 0; i < _inputs.Count; i++) _inputs[i]?.AddUse(this, i);
        _outputs.AddRange(outputs);
        foreach (var output in _outputs)
        {
            if (output is not null) output.Producer = this;
        }

        _subgraphs.AddRange(subgraphs);
    }

    internal void Unlink()
    {
        for (var i = 0; i < _inputs.Count; i++) _inputs[i]?.RemoveUse(this, i);
        foreach (var node in _subgraphs.SelectMany(graph => graph.Nodes)) node.Unlink();
        foreach (var output in _outputs)
        {
            if (output is not null && ReferenceEquals(output.Producer, this)) output.Producer = null;
        }
    }

    /// <summary>Writes a value that another node wrote so far.</summary>
    internal void TakeOutput(int index, OnnxValue value)
    {
        if (_outputs[index] is { } old && ReferenceEquals(old.Producer, this)) old.Producer = null;
        _outputs[index] = value;
        Proto.Output[index] = value.Name;
        value.Producer = this;
    }

    /// <summary>The tensor of a Constant node, however it is written.</summary>
    internal LazyTensor? ConstantTensor()
    {
        if (OpType != "Constant" || Domain.Length > 0 || Proto.Attribute.Count != 1) return null;
        var attribute = Proto.Attribute[0];
        return attribute.Name switch
        {
            "value" when attribute.T is not null => Graph.Model.Tensors.Find(attribute.T),
            "value_int" => LazyTensor.FromInt64s([], [attribute.I]),
            "value_ints" => LazyTensor.FromInt64s([attribute.Ints.Count], [.. attribute.Ints]),
            "value_float" => LazyTensor.FromFloats(ElementType.Float32, [], [attribute.F]),
            "value_floats" => LazyTensor.FromFloats(ElementType.Float32, [attribute.Floats.Count], [.. attribute.Floats]),
            _ => null,
        };
    }

    // Files of the first IR versions do not say the kind.
    private AttributeProto? Attribute(string name, AttributeType kind) =>
        Attribute(name) is not { HasType: true } attribute || attribute.Type == kind
            ? Attribute(name)
            : throw new ModelFormatException($"{this} has an attribute '{name}' of kind {attribute.Type}; it must be {kind}");

    /// <inheritdoc/>
    public override string ToString() => $"{OpType} '{DisplayName()}'";
}
