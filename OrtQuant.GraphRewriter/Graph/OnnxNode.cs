using Onnx;
using OrtQuant.Descriptions;
using AttributeType = Onnx.AttributeProto.Types.AttributeType;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>A node with its edges. <see cref="Proto"/> holds op type, attributes and names; edges are changed through this class.</summary>
public sealed class OnnxNode
{
    private readonly OnnxValue?[] _inputs;
    private readonly OnnxValue?[] _outputs;
    private LazyTensor? _constant;

    internal OnnxNode(OnnxGraph graph, NodeProto proto)
    {
        Graph = graph;
        Proto = proto;
        _inputs = new OnnxValue?[proto.Input.Count];
        _outputs = new OnnxValue?[proto.Output.Count];
    }

    /// <summary>The graph it is in.</summary>
    public OnnxGraph Graph { get; }

    /// <summary>The message.</summary>
    public NodeProto Proto { get; }

    /// <summary>The operator.</summary>
    public string OpType => Proto.OpType;

    /// <summary>The operator's domain; empty for the standard one, however it is written.</summary>
    public string Domain => OnnxModel.NormalizeDomain(Proto.Domain);

    /// <summary>The name; may be empty and need not be unique.</summary>
    public string Name => Proto.Name;

    /// <summary>Values it reads; null for an optional input that is not given.</summary>
    public IReadOnlyList<OnnxValue?> Inputs => _inputs;

    /// <summary>Values it produces; null for an optional output that is not wanted.</summary>
    public IReadOnlyList<OnnxValue?> Outputs => _outputs;

    /// <summary>Graphs in its attributes: branches of an If, bodies of Loop and Scan.</summary>
    public IReadOnlyList<OnnxGraph> Subgraphs { get; internal set; } = [];

    /// <summary>Data of a Constant node; null for other nodes and for strings.</summary>
    internal LazyTensor? ConstantTensor => _constant ??= OpType == "Constant" && Domain.Length == 0 ? ReadConstant() : null;

    /// <summary>Name for people: the node's, or that of its first output.</summary>
    public string DisplayName() => Name.Length > 0 ? Name : Array.Find(_outputs, output => output is not null)?.Name ?? OpType;

    /// <summary>An integer attribute.</summary>
    /// <exception cref="ModelFormatException">The attribute is of another kind.</exception>
<<<<<<< Updated upstream
    public long GetInt(string name, long missing) => Attribute(name, AttributeType.Int) is { } attribute ? attribute.I : missing;

    /// <summary>A float attribute.</summary>
    /// <exception cref="ModelFormatException">The attribute is of another kind.</exception>
    public float GetFloat(string name, float missing) => Attribute(name, AttributeType.Float) is { } attribute ? attribute.F : missing;

    /// <summary>A string attribute.</summary>
    /// <exception cref="ModelFormatException">The attribute is of another kind.</exception>
    public string? GetString(string name) => Attribute(name, AttributeType.String)?.S.ToStringUtf8();

    /// <summary>A list of integers.</summary>
=======
    public long GetInt(string name, long fallback) => Attribute(name, AttributeType.Int)?.I ?? fallback;

    /// <summary>A float attribute.</summary>
    /// <exception cref="ModelFormatException">The attribute is of another kind.</exception>
    public float GetFloat(string name, float fallback) => Attribute(name, AttributeType.Float)?.F ?? fallback;

    /// <summary>A string attribute.</summary>
    /// <exception cref="ModelFormatException">The attribute is of another kind.</exception>
    public string GetString(string name, string fallback) => Attribute(name, AttributeType.String)?.S.ToStringUtf8() ?? fallback;

    /// <summary>A list of integers; null where the node has no such attribute.</summary>
>>>>>>> Stashed changes
    /// <exception cref="ModelFormatException">The attribute is of another kind.</exception>
    public IReadOnlyList<long>? GetInts(string name) => Attribute(name, AttributeType.Ints)?.Ints;

    /// <summary>A tensor attribute; null where the node has no such attribute, or one of strings.</summary>
    /// <exception cref="ModelFormatException">The attribute is of another kind.</exception>
    public LazyTensor? GetTensor(string name) =>
        Attribute(name, AttributeType.Tensor) is { T: { } tensor } ? Graph.Model.Tensors.Tensor(tensor) : null;

    /// <summary>The attribute of this name.</summary>
    public AttributeProto? FindAttribute(string name) => Proto.Attribute.FirstOrDefault(attribute => attribute.Name == name);

    /// <summary>Reads another value, or with null nothing, at an input that the node has.</summary>
    public void SetInput(int index, OnnxValue? value)
    {
        _inputs[index]?.RemoveUse(new Use(this, index));
        _inputs[index] = value;
        Proto.Input[index] = value?.Name ?? "";
        value?.AddUse(new Use(this, index));
    }

    /// <summary>Produces another value, which nothing else produces, at an output that the node has.</summary>
    public void SetOutput(int index, OnnxValue value)
    {
        if (value.Producer is not null || value.IsInitializer)
        {
            throw new InvalidOperationException($"value '{value.Name}' is defined already");
        }

        if (_outputs[index] is { } old) old.Producer = null;
        _outputs[index] = value;
        Proto.Output[index] = value.Name;
        value.Producer = this;
    }

<<<<<<< Updated upstream
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

=======
>>>>>>> Stashed changes
    /// <inheritdoc/>
    public override string ToString() => $"{OpType} '{DisplayName()}'";

    /// <summary>Connects outputs; each must be a value that nothing defines yet.</summary>
    internal void DefineOutputs()
    {
        for (var i = 0; i < _outputs.Length; i++)
        {
            if (Proto.Output[i].Length == 0) continue;
            var value = Graph.Define(Proto.Output[i]);
            if (value.Producer is { } other)
            {
                throw new ModelFormatException($"value '{value.Name}' is produced by {other} and by {this}; a name may be produced once");
            }

            if (value.IsInitializer || value.IsGraphInput)
            {
                throw new ModelFormatException($"value '{value.Name}' is produced by {this} and is an {(value.IsInitializer ? "initializer" : "input of the graph")} too");
            }

            value.Producer = this;
            _outputs[i] = value;
        }
    }

    /// <summary>Connects inputs to what the graph and the graphs around it define.</summary>
    internal void ResolveInputs()
    {
        for (var i = 0; i < _inputs.Length; i++)
        {
            if (Proto.Input[i].Length == 0) continue;
            var value = Graph.Find(Proto.Input[i])
                ?? throw new ModelFormatException($"{this} reads '{Proto.Input[i]}', which nothing produces");
            _inputs[i] = value;
            value.AddUse(new Use(this, i));
        }
    }

    /// <summary>Takes the node, and what is in its graphs, off the values that it touches.</summary>
    internal void Detach()
    {
        for (var i = 0; i < _inputs.Length; i++) _inputs[i]?.RemoveUse(new Use(this, i));
        foreach (var output in _outputs)
        {
            if (output?.Producer == this) output.Producer = null;
        }

        foreach (var node in Subgraphs.SelectMany(graph => graph.Nodes)) node.Detach();
    }

    /// <summary>Lets a Constant node's data be read again after its attribute has changed.</summary>
    internal void ForgetConstant() => _constant = null;

    private AttributeProto? Attribute(string name, AttributeType kind)
    {
        var attribute = FindAttribute(name);
        if (attribute is { HasType: true } && attribute.Type != kind)
        {
            throw new ModelFormatException($"{this} has attribute '{name}' of kind {attribute.Type}; it must be {kind}");
        }

        return attribute;
    }

    private LazyTensor? ReadConstant()
    {
        if (GetTensor("value") is { } tensor) return tensor;
        if (FindAttribute("value_float") is { } f) return LazyTensor.FromFloats(ElementType.Float32, [], [f.F]);
        if (FindAttribute("value_int") is { } i) return LazyTensor.FromInt64s([], [i.I]);
        if (FindAttribute("value_floats") is { } floats) return LazyTensor.FromFloats(ElementType.Float32, [floats.Floats.Count], floats.Floats.ToArray());
        if (FindAttribute("value_ints") is { } ints) return LazyTensor.FromInt64s([ints.Ints.Count], ints.Ints.ToArray());
        return null;
    }
}
