using Onnx;
using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>
/// A graph, the main one or one in an attribute of a node, with use-def edges over <see cref="Proto"/>. Changes made here keep message and
/// edges in step; for changes of the message itself use <see cref="OnnxModel.Edit"/>.
/// </summary>
public sealed class OnnxGraph
{
    private readonly Dictionary<string, OnnxValue> _values = [];
    private readonly List<OnnxNode> _nodes = [];

    internal OnnxGraph(OnnxModel model, GraphProto proto, OnnxNode? owner)
    {
        Model = model;
        Proto = proto;
        OwnerNode = owner;
        Parent = owner?.Graph;
        DefineInputs();
        foreach (var node in proto.Node) _nodes.Add(new OnnxNode(this, node));
        foreach (var node in _nodes) node.DefineOutputs();
        foreach (var info in proto.ValueInfo)
        {
            if (_values.TryGetValue(info.Name, out var value)) value.Infos.Add(info);
        }

        // Inner graphs see every name of this one, so they come after all of its definitions.
        foreach (var node in _nodes) Connect(node);
        foreach (var info in proto.Output)
        {
            var value = Find(info.Name) ?? throw new ModelFormatException($"output '{info.Name}' of graph '{proto.Name}' is produced by nothing");
            value.IsGraphOutput = true;
            value.Infos.Add(info);
        }
    }

    /// <summary>The model it is part of.</summary>
    public OnnxModel Model { get; }

    /// <summary>The message.</summary>
    public GraphProto Proto { get; }

    /// <summary>The graph around it, whose values it sees; null for the main graph.</summary>
    public OnnxGraph? Parent { get; }

    /// <summary>The node that holds it; null for the main graph.</summary>
    public OnnxNode? OwnerNode { get; }

    /// <summary>Nodes in the order of the message.</summary>
    public IReadOnlyList<OnnxNode> Nodes => _nodes;

    /// <summary>Inputs that are no initializers, and those that are, in the order of the message.</summary>
    public IReadOnlyList<OnnxValue> Inputs => [.. Proto.Input.Select(info => _values[info.Name])];

    /// <summary>Outputs in the order of the message.</summary>
    public IReadOnlyList<OnnxValue> Outputs => [.. Proto.Output.Select(info => Find(info.Name)!)];

    /// <summary>Dense initializers, in the order of the message.</summary>
    public IReadOnlyList<OnnxValue> Initializers => [.. Proto.Initializer.Select(tensor => _values[tensor.Name])];

    /// <summary>The value that a name means here: this graph's own, else that of the nearest graph around it.</summary>
    public OnnxValue? Find(string name)
    {
        for (var graph = this; graph is not null; graph = graph.Parent)
        {
            if (graph._values.TryGetValue(name, out var value)) return value;
        }

        return null;
    }

    /// <summary>Position of a node of this graph; -1 if it is not one.</summary>
    public int IndexOf(OnnxNode node) => _nodes.IndexOf(node);

    /// <summary>Adds a node at a position.</summary>
    /// <exception cref="ModelFormatException">An input is defined nowhere, or an output twice.</exception>
    public OnnxNode Insert(int index, NodeProto proto)
    {
        var node = new OnnxNode(this, proto);
        node.DefineOutputs();
        Connect(node);
        Proto.Node.Insert(index, proto);
        _nodes.Insert(index, node);
        Model.ForgetGraphs();
        return node;
    }

    /// <summary>Adds a node after all others.</summary>
    public OnnxNode AddNode(NodeProto proto) => Insert(_nodes.Count, proto);

    /// <summary>Adds a node before another.</summary>
    public OnnxNode InsertBefore(OnnxNode node, NodeProto proto) => Insert(IndexOf(node), proto);

    /// <summary>Adds a node after another.</summary>
    public OnnxNode InsertAfter(OnnxNode node, NodeProto proto) => Insert(IndexOf(node) + 1, proto);

    /// <summary>Removes a node; its outputs stay as values without a producer until something else produces them.</summary>
    public void Remove(OnnxNode node)
    {
        var index = IndexOf(node);
        if (index < 0) throw new ArgumentException($"{node} is not in graph '{Proto.Name}'", nameof(node));
        Proto.Node.RemoveAt(index);
        _nodes.RemoveAt(index);
        node.Detach();
        Model.ForgetGraphs();
    }

    /// <summary>Lets every node that reads a value read another one. Outputs of graphs keep their names.</summary>
    public static void ReplaceAllUses(OnnxValue old, OnnxValue value)
    {
        foreach (var use in old.Uses.ToArray()) use.Node.SetInput(use.Index, value);
    }

    /// <summary>Adds an initializer.</summary>
    /// <exception cref="ArgumentException">The name is defined already.</exception>
    public OnnxValue AddInitializer(string name, LazyTensor tensor)
    {
        var value = Define(name);
        if (value.Producer is not null || value.IsInitializer || value.IsGraphInput)
        {
            throw new ArgumentException($"'{name}' is defined already in graph '{Proto.Name}'", nameof(name));
        }

        var proto = new TensorProto { Name = name };
        Model.Tensors.Refer(proto, tensor);
        Proto.Initializer.Add(proto);
        value.Initializer = proto;
        return value;
    }

    /// <summary>Gives an initializer other data, of any type and shape.</summary>
    public void SetInitializer(OnnxValue value, LazyTensor tensor)
    {
        var proto = value.Initializer ?? throw new ArgumentException($"'{value.Name}' is no initializer", nameof(value));
        Model.Tensors.Refer(proto, tensor);
        value.Initializer = proto;
    }

    /// <summary>Removes an initializer.</summary>
    public void RemoveInitializer(OnnxValue value)
    {
        if (value.Initializer is not { } proto) throw new ArgumentException($"'{value.Name}' is no initializer", nameof(value));
        for (var i = Proto.Initializer.Count - 1; i >= 0; i--)
        {
            if (ReferenceEquals(Proto.Initializer[i], proto)) Proto.Initializer.RemoveAt(i);
        }

        value.Initializer = null;
    }

    /// <summary>A new value without a definition, for <see cref="OnnxNode.SetOutput"/>.</summary>
    public OnnxValue AddValue(string name) =>
        _values.ContainsKey(name) ? throw new ArgumentException($"'{name}' is defined already in graph '{Proto.Name}'", nameof(name)) : Define(name);

    /// <summary>A name that no graph of the model uses, and that is not given out again: the hint, or the hint with a number.</summary>
    public string UniqueName(string hint) => Model.UniqueName(hint);

    internal OnnxValue Define(string name)
    {
        if (!_values.TryGetValue(name, out var value))
        {
            _values[name] = value = new OnnxValue(this, name);
            Model.TakeName(name);
        }

<<<<<<< Updated upstream
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
        foreach (var body in proto.Attribute.SelectMany(attribute => attribute.G is null ? attribute.Graphs : attribute.Graphs.Prepend(attribute.G)))
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
=======
>>>>>>> Stashed changes
        return value;
    }

    private void DefineInputs()
    {
        foreach (var info in Proto.Input)
        {
            var value = Define(info.Name);
            if (value.IsGraphInput) throw new ModelFormatException($"graph '{Proto.Name}' has input '{info.Name}' twice; a name may be an input once");
            value.IsGraphInput = true;
            value.Infos.Add(info);
        }

        foreach (var tensor in Proto.Initializer) DefineInitializer(tensor.Name).Initializer = tensor;
        foreach (var tensor in Proto.SparseInitializer) DefineInitializer(tensor.Values?.Name ?? "").IsSparse = true;
    }

    private OnnxValue DefineInitializer(string name)
    {
        var value = Define(name);
        return value.IsInitializer
            ? throw new ModelFormatException($"graph '{Proto.Name}' has two initializers named '{name}'; a name may be used once")
            : value;
    }

    private void Connect(OnnxNode node)
    {
        node.ResolveInputs();
        List<OnnxGraph>? inner = null;
        foreach (var attribute in node.Proto.Attribute)
        {
            if (attribute.G is not null) (inner ??= []).Add(new OnnxGraph(Model, attribute.G, node));
            foreach (var graph in attribute.Graphs) (inner ??= []).Add(new OnnxGraph(Model, graph, node));
        }

        if (inner is not null) node.Subgraphs = inner;
    }
}
