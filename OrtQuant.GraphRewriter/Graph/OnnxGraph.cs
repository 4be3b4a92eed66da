using Onnx;
using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>A graph with use-def edges: the main graph of a model, or the body of an If, Loop or Scan.</summary>
public sealed class OnnxGraph
{
    private readonly Dictionary<string, OnnxValue> _values = [];
    private readonly Dictionary<string, TensorProto> _initializers = [];
    private readonly Dictionary<string, ValueInfoProto> _declared = [];
    private readonly List<OnnxNode> _nodes = [];

    internal OnnxGraph(OnnxModel model, GraphProto proto, OnnxGraph? parent) => (Model, Proto, Parent) = (model, proto, parent);

    /// <summary>The model it belongs to.</summary>
    public OnnxModel Model { get; }

    /// <summary>The graph as ONNX stores it. Its nodes and initializers are brought up to date when <see cref="OnnxModel.Proto"/> is read.</summary>
    public GraphProto Proto { get; }

    /// <summary>The graph around it; null for the main graph.</summary>
    public OnnxGraph? Parent { get; }

    /// <summary>The If, Loop or Scan that it is a body of; null for the main graph.</summary>
    public OnnxNode? OwnerNode { get; internal set; }

    /// <summary>Nodes in an order in which they can run.</summary>
    public IReadOnlyList<OnnxNode> Nodes => _nodes;

    /// <summary>Inputs, in order.</summary>
    public IReadOnlyList<OnnxValue> Inputs => [.. Proto.Input.Select(input => _values[input.Name])];

    /// <summary>Outputs, in order.</summary>
    public IReadOnlyList<OnnxValue> Outputs => [.. Proto.Output.Select(output => Find(output.Name)!)];

    /// <summary>Initializers, in the order of the file, then as added.</summary>
    public IReadOnlyList<OnnxValue> Initializers => [.. _initializers.Keys.Select(name => _values[name])];

    /// <summary>A value by name, of this graph or one around it.</summary>
    public OnnxValue? Find(string name) => _values.GetValueOrDefault(name) ?? Parent?.Find(name);

    /// <summary>A name that no value of the model has, close to the given one.</summary>
    public string UniqueName(string hint) => Model.UniqueName(hint);

    /// <summary>Adds a node at the end of the graph.</summary>
    /// <param name="proto">Its inputs are names of values that exist; its outputs names of new values, or of values that no node writes.</param>
    public OnnxNode AddNode(NodeProto proto) => Insert(_nodes.Count, proto);

    /// <summary>Adds a node just before another.</summary>
    public OnnxNode InsertBefore(OnnxNode next, NodeProto proto) => Insert(IndexOf(next), proto);

    /// <summary>Adds a node just after another.</summary>
    public OnnxNode InsertAfter(OnnxNode previous, NodeProto proto) => Insert(IndexOf(previous) + 1, proto);

    /// <summary>Takes a node out. Its outputs lose their producer and are forgotten when nothing reads them.</summary>
    public void Remove(OnnxNode node)
    {
        _nodes.Remove(node);
        node.Unlink();
        foreach (var output in node.Outputs)
        {
            if (output is { Producer: null, IsGraphOutput: false, IsGraphInput: false } && output.Uses.Count == 0) Forget(output.Name);
        }
    }

    /// <summary>Makes every reader of one value read another; graph outputs keep their names and are not touched.</summary>
    public void ReplaceAllUses(OnnxValue old, OnnxValue value)
    {
        foreach (var use in old.Uses.ToArray()) use.Node.SetInput(use.Index, value);
    }

    /// <summary>Adds a constant.</summary>
    /// <param name="name">A name that no value has.</param>
    /// <param name="tensor">Its data; read when the model is saved.</param>
    public OnnxValue AddInitializer(string name, LazyTensor tensor)
    {
        var value = Define(name);
        _initializers[name] = Model.Tensors.Add(name, tensor);
        Model.ClaimName(name);
        return value;
    }

    /// <summary>Puts other data in the place of an initializer's; type and shape may change.</summary>
    public void ReplaceInitializer(OnnxValue value, LazyTensor tensor)
    {
        if (!_initializers.ContainsKey(value.Name)) throw new InvalidOperationException($"'{value.Name}' is no initializer");
        _initializers[value.Name] = Model.Tensors.Add(value.Name, tensor);
    }

    /// <summary>Takes a constant out; nothing may read it.</summary>
    public void RemoveInitializer(OnnxValue value)
    {
        if (value.Uses.Count > 0 || value.IsGraphOutput) throw new InvalidOperationException($"initializer '{value.Name}' is still read");
        _initializers.Remove(value.Name);
        if (!value.IsGraphInput) Forget(value.Name);
    }

    /// <summary>Declares type and shape of a value; -1 is an unknown dimension.</summary>
    public void Declare(string name, ElementType type, IReadOnlyList<long>? shape)
    {
        var info = new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)type } } };
        if (shape is not null)
        {
            info.Type.TensorType.Shape = new TensorShapeProto();
            info.Type.TensorType.Shape.Dim.AddRange(shape.Select(size =>
                size < 0 ? new TensorShapeProto.Types.Dimension() : new TensorShapeProto.Types.Dimension { DimValue = size }));
        }

        if (!_declared.ContainsKey(name) || Proto.ValueInfo.Any(known => known.Name == name))
        {
            for (var i = Proto.ValueInfo.Count - 1; i >= 0; i--)
            {
                if (Proto.ValueInfo[i].Name == name) Proto.ValueInfo.RemoveAt(i);
            }

            Proto.ValueInfo.Add(info);
        }

        _declared[name] = info;
    }

    internal TensorProto? InitializerOf(string name) => _initializers.GetValueOrDefault(name);

    internal LazyTensor? ConstantOf(OnnxValue value)
    {
        if (value.Producer is { } producer) return producer.ConstantTensor();
        return !value.IsGraphInput && _initializers.TryGetValue(value.Name, out var proto) ? Model.Tensors.Find(proto) : null;
    }

    internal ElementType? DeclaredType(string name) =>
        _declared.TryGetValue(name, out var info) && info.Type?.TensorType is { ElemType: > 0 } type ? (ElementType)type.ElemType : null;

    internal IReadOnlyList<long>? DeclaredShape(string name) =>
        _declared.TryGetValue(name, out var info) && info.Type?.TensorType?.Shape is { } shape
            ? [.. shape.Dim.Select(dimension => dimension.ValueCase == TensorShapeProto.Types.Dimension.ValueOneofCase.DimValue ? dimension.DimValue : -1)]
            : null;

    /// <summary>Builds the edges of this graph and of those inside it.</summary>
    internal void Build(int depth)
    {
        if (depth > OnnxModel.DeepestNesting) throw new ModelFormatException($"graphs are nested more than {OnnxModel.DeepestNesting} deep");
        foreach (var info in Proto.ValueInfo.Concat(Proto.Output).Concat(Proto.Input)) _declared[info.Name] = info;
        foreach (var input in Proto.Input) Define(input.Name).IsGraphInput = true;
        foreach (var tensor in Proto.Initializer)
        {
            if (!_initializers.TryAdd(tensor.Name, tensor)) throw new ModelFormatException($"two initializers are named '{tensor.Name}'");
            _values.TryAdd(tensor.Name, new OnnxValue(this, tensor.Name));
        }

        foreach (var sparse in Proto.SparseInitializer) _values.TryAdd(sparse.Values?.Name ?? "", new OnnxValue(this, sparse.Values?.Name ?? ""));
        foreach (var node in Proto.Node)
        {
            foreach (var output in node.Output.Where(output => output.Length > 0)) Define(output);
        }

        foreach (var proto in NodeOrder.Sort(Proto.Node, this)) _nodes.Add(Link(proto, depth));
        foreach (var output in Proto.Output)
        {
            var value = Find(output.Name) ?? throw new ModelFormatException($"graph output '{output.Name}' is produced by no node");
            value.IsGraphOutput = true;
        }
    }

    /// <summary>Writes nodes, initializers and declarations back to the protobuf object.</summary>
    internal void Sync()
    {
        foreach (var subgraph in _nodes.SelectMany(node => node.Subgraphs)) subgraph.Sync();
        Proto.Node.Clear();
        Proto.Node.AddRange(_nodes.Select(node => node.Proto));
        Proto.Initializer.Clear();
        Proto.Initializer.AddRange(_initializers.Values);
        ValueInfoProto[] declared = [.. Proto.ValueInfo.Where(info => _values.ContainsKey(info.Name))];
        Proto.ValueInfo.Clear();
        Proto.ValueInfo.AddRange(declared);
    }

    /// <summary>A new value that nothing produces yet, for <see cref="OnnxNode.TakeOutput"/>.</summary>
    internal OnnxValue AddValue(string name)
    {
        Model.ClaimName(name);
        return Define(name);
    }

    internal OnnxNode Insert(int index, NodeProto proto)
    {
        foreach (var output in proto.Output.Where(output => output.Length > 0))
        {
            if (_values.TryGetValue(output, out var known))
            {
                if (known.Producer is not null || known.IsGraphInput) throw new InvalidOperationException($"'{output}' is produced already");
            }
            else
            {
                Define(output);
                Model.ClaimName(output);
            }
        }

        var node = Link(proto, 0);
        _nodes.Insert(index, node);
        return node;
    }

    private OnnxNode Link(NodeProto proto, int depth)
    {
        var node = new OnnxNode(this, proto);
        var subgraphs = new List<OnnxGraph>();
        foreach (var body in ProtoWalk.Bodies(proto))
        {
            var subgraph = new OnnxGraph(Model, body, this) { OwnerNode = node };
            subgraph.Build(depth + 1);
            subgraphs.Add(subgraph);
        }

        node.Link(
            proto.Input.Select(name => name.Length == 0 ? null : Find(name) ?? throw Undefined(proto, name)),
            proto.Output.Select(name => name.Length == 0 ? null : _values[name]),
            subgraphs);
        return node;
    }

    private OnnxValue Define(string name)
    {
        var value = new OnnxValue(this, name);
        if (!_values.TryAdd(name, value)) throw new ModelFormatException($"two values are named '{name}'");
        return value;
    }

    private void Forget(string name)
    {
        _values.Remove(name);
        _declared.Remove(name);
    }

    private int IndexOf(OnnxNode node)
    {
        var index = _nodes.IndexOf(node);
        return index >= 0 ? index : throw new InvalidOperationException($"{node} is not in this graph");
    }

    private static ModelFormatException Undefined(NodeProto node, string input) =>
        new($"node '{(node.Name.Length > 0 ? node.Name : node.OpType)}' reads '{input}', which nothing produces");
}
