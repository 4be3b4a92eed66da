using Onnx;
using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Transforms;

/// <summary>Replaces calls of model-local functions by the nodes of their bodies, by the rules of the ONNX specification.</summary>
internal sealed class FunctionInliner
{
    private const int DeepestNesting = 64;

    private static readonly HashSet<string> WeightOps = ["MatMul", "Gemm", "Gather", "MatMulInteger", "QLinearMatMul", "MatMulNBits", "GatherBlockQuantized", "Einsum"];

    private readonly ModelProto _model;
    private readonly Dictionary<(string Domain, string Name, string Overload), FunctionProto> _functions = [];
    private readonly HashSet<string> _names = [];

    /// <summary>Looks at the functions of a model.</summary>
    /// <param name="model">Changed by <see cref="Run"/> only.</param>
    internal FunctionInliner(ModelProto model)
    {
        _model = model;
        foreach (var function in model.Functions) _functions[Key(function)] = function;
        Inlinable = model.Functions.Where(function => HoldsWeights(function, 0) && Obstacle(function) is null)
            .ToHashSet<FunctionProto>(ReferenceEqualityComparer.Instance);
        NotInlinable = [.. model.Functions
            .Where(function => HoldsWeights(function, 0))
            .Select(function => (function, Obstacle(function)))
            .Where(pair => pair.Item2 is not null)
            .Select(pair => (pair.function, pair.Item2!))];
    }

    /// <summary>Functions that hold matrix products, themselves or through functions they call, and can be inlined.</summary>
    internal IReadOnlySet<FunctionProto> Inlinable { get; }

    /// <summary>Functions that hold matrix products and stay, with the reason.</summary>
    internal IReadOnlyList<(FunctionProto Function, string Reason)> NotInlinable { get; }

    /// <summary>Inlines every call and drops the functions that are no longer called.</summary>
    internal void Run()
    {
        if (Inlinable.Count == 0) return;
        CollectNames(_model.Graph);
        InlineIn(_model.Graph, 0);
        foreach (var function in Inlinable)
        {
            foreach (var import in function.OpsetImport.Where(import => _model.OpsetImport.All(known => Domain(known.Domain) != Domain(import.Domain))))
            {
                _model.OpsetImport.Add(import.Clone());
            }
        }

        var called = Called(_model.Graph.Node, []);
        var kept = _model.Functions.Where(function => called.Contains(Key(function))).ToList();
        _model.Functions.Clear();
        _model.Functions.AddRange(kept);
    }

    private void InlineIn(GraphProto graph, int depth)
    {
        var nodes = Inline(graph.Node, depth);
        graph.Node.Clear();
        graph.Node.AddRange(nodes);
    }

    private List<NodeProto> Inline(IEnumerable<NodeProto> nodes, int depth)
    {
        if (depth > DeepestNesting) throw new ModelFormatException($"functions or graphs are nested more than {DeepestNesting} deep, or a function calls itself");
        var result = new List<NodeProto>();
        foreach (var node in nodes)
        {
            foreach (var graph in ProtoWalk.Bodies(node)) InlineIn(graph, depth + 1);
            if (Callee(node) is { } function && Inlinable.Contains(function)) result.AddRange(Inline(Expand(node, function), depth + 1));
            else result.Add(node);
        }

        return result;
    }

    /// <summary>The nodes of a function's body with the names and attribute values of one call.</summary>
    private List<NodeProto> Expand(NodeProto call, FunctionProto function)
    {
        var prefix = Unique(call.Name.Length > 0 ? call.Name : function.Name);
        var names = new Dictionary<string, string>();
        for (var i = 0; i < function.Input.Count; i++) names[function.Input[i]] = i < call.Input.Count ? call.Input[i] : "";
        var result = new List<NodeProto>();
        var passedThrough = new List<NodeProto>();
        for (var i = 0; i < function.Output.Count; i++)
        {
            var actual = i < call.Output.Count ? call.Output[i] : "";
            var formal = function.Output[i];
            if (names.TryGetValue(formal, out var input))
            {
                if (actual.Length > 0) passedThrough.Add(new NodeProto { OpType = "Identity", Name = $"{prefix}/{formal}", Input = { input }, Output = { actual } });
            }
            else if (actual.Length > 0)
            {
                names[formal] = actual;
            }
        }

        var attributes = function.AttributeProto.ToDictionary(attribute => attribute.Name);
        foreach (var attribute in call.Attribute) attributes[attribute.Name] = attribute;
        foreach (var node in function.Node)
        {
            var copy = node.Clone();
            Rename(copy, names, prefix, attributes);
            result.Add(copy);
        }

        return [.. result, .. passedThrough];
    }

    private void Rename(NodeProto node, Dictionary<string, string> names, string prefix, Dictionary<string, AttributeProto> attributes)
    {
        node.Name = $"{prefix}/{(node.Name.Length > 0 ? node.Name : node.OpType)}";
        for (var i = 0; i < node.Input.Count; i++) node.Input[i] = Renamed(node.Input[i]);
        for (var i = 0; i < node.Output.Count; i++) node.Output[i] = Renamed(node.Output[i]);
        foreach (var attribute in node.Attribute.Where(attribute => attribute.RefAttrName.Length > 0).ToList())
        {
            var index = node.Attribute.IndexOf(attribute);
            node.Attribute.RemoveAt(index);
            if (!attributes.TryGetValue(attribute.RefAttrName, out var value)) continue;
            var copy = value.Clone();
            copy.Name = attribute.Name;
            node.Attribute.Insert(index, copy);
        }

        foreach (var graph in ProtoWalk.Bodies(node)) Rename(graph, names, prefix, attributes);

        string Renamed(string name) => RenamedValue(name, names, prefix);
    }

    private void Rename(GraphProto graph, Dictionary<string, string> names, string prefix, Dictionary<string, AttributeProto> attributes)
    {
        // Names of a subgraph are its own: the same name in two branches is two values.
        var local = new Dictionary<string, string>(names);
        var own = Unique($"{prefix}/{graph.Name}");
        foreach (var value in graph.Input.Concat(graph.ValueInfo)) value.Name = RenamedValue(value.Name, local, own);
        foreach (var tensor in graph.Initializer) tensor.Name = RenamedValue(tensor.Name, local, own);
        foreach (var node in graph.Node)
        {
            foreach (var output in node.Output) RenamedValue(output, local, own);
        }

        foreach (var node in graph.Node) Rename(node, local, own, attributes);
        foreach (var value in graph.Output) value.Name = RenamedValue(value.Name, local, own);
    }

    private string RenamedValue(string name, Dictionary<string, string> names, string prefix)
    {
        if (name.Length == 0) return "";
        if (!names.TryGetValue(name, out var renamed)) names[name] = renamed = Unique($"{prefix}/{name}");
        return renamed;
    }

    private string Unique(string name)
    {
        if (_names.Add(name)) return name;
        for (var i = 1; ; i++)
        {
            if (_names.Add($"{name}_{i}")) return $"{name}_{i}";
        }
    }

    private void CollectNames(GraphProto graph)
    {
        _names.UnionWith(graph.Input.Concat(graph.Output).Concat(graph.ValueInfo).Select(value => value.Name));
        _names.UnionWith(graph.Initializer.Select(tensor => tensor.Name));
        foreach (var node in graph.Node)
        {
            _names.UnionWith(node.Output);
            foreach (var subgraph in ProtoWalk.Bodies(node)) CollectNames(subgraph);
        }
    }

    private bool HoldsWeights(FunctionProto function, int depth) =>
        Domain(function.Domain) != "ortquant"
        && depth <= DeepestNesting
        && AllNodes(function.Node).Any(node =>
            WeightOps.Contains(node.OpType) || (Callee(node) is { } callee && HoldsWeights(callee, depth + 1)));

    private string? Obstacle(FunctionProto function)
    {
        foreach (var import in function.OpsetImport)
        {
            var known = _model.OpsetImport.FirstOrDefault(known => Domain(known.Domain) == Domain(import.Domain));
            if (known is not null && known.Version != import.Version)
            {
                var domain = Domain(import.Domain).Length == 0 ? "ai.onnx" : import.Domain;
                return $"its function imports version {import.Version} of {domain} and the model version {known.Version}; they must be the same to inline it";
            }
        }

        return null;
    }

    /// <summary>Functions reached from nodes, directly or through other functions.</summary>
    private HashSet<(string, string, string)> Called(IEnumerable<NodeProto> nodes, HashSet<(string, string, string)> found)
    {
        foreach (var node in AllNodes(nodes))
        {
            if (Callee(node) is { } function && found.Add(Key(function))) Called(function.Node, found);
        }

        return found;
    }

    private static IEnumerable<NodeProto> AllNodes(IEnumerable<NodeProto> nodes) =>
        nodes.SelectMany(node => ProtoWalk.Bodies(node).SelectMany(graph => AllNodes(graph.Node)).Prepend(node));

    private FunctionProto? Callee(NodeProto node) => _functions.GetValueOrDefault((Domain(node.Domain), node.OpType, node.Overload));

    private static (string Domain, string Name, string Overload) Key(FunctionProto function) =>
        (Domain(function.Domain), function.Name, function.Overload);

    private static string Domain(string domain) => domain == "ai.onnx" ? "" : domain;
}
