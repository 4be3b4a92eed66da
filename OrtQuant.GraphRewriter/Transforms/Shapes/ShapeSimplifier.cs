using Google.Protobuf;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Rewriting;

namespace OrtQuant.GraphRewriter.Transforms.Shapes;

/// <summary>
/// Takes out what exporters write to compute shapes: numbers that are known become constants, numbers that are the same expression of the
/// model's sizes are computed once, and so are equal nodes and equal small constants; Reshape and Expand that change nothing go.
/// </summary>
internal sealed class ShapeSimplifier
{
    private const int SmallBytes = 1024;

    // Their results are not a function of inputs and attributes.
    private static readonly HashSet<string> NotRepeatable =
        ["Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"];

    private readonly ShapeInference _facts;
    private readonly UnusedValues _unused = new();
    private readonly Dictionary<OnnxGraph, Dictionary<string, OnnxValue>> _constants = [];

    private ShapeSimplifier(OnnxModel model) => _facts = new ShapeInference(model);

    /// <summary>Changes the model.</summary>
    internal static void Run(OnnxModel model)
    {
        var simplifier = new ShapeSimplifier(model);
        foreach (var graph in model.AllGraphs) simplifier.Simplify(graph);
        simplifier._unused.Remove();
    }

    private void Simplify(OnnxGraph graph)
    {
        ShareConstants(graph);
        ShareContents(graph);
        foreach (var node in graph.Nodes.ToList()) SimplifyTarget(node);
        foreach (var node in graph.Nodes.ToList()) SkipNoOp(node);
        _unused.Remove();
        ShareNodes(graph);
    }

    /// <summary>Small constants, initializers and Constant nodes, one for each value.</summary>
    private void ShareConstants(OnnxGraph graph)
    {
        var known = Constants(graph);
        foreach (var value in graph.Initializers.Where(value => !value.IsGraphOutput).ToList())
        {
            if (value.Constant is { ByteLength: <= SmallBytes } tensor && !known.TryAdd(Key(tensor), value)) Replace(value, known[Key(tensor)]);
        }

        foreach (var node in graph.Nodes.Where(node => node.OpType == "Constant" && node.Outputs is [{ IsGraphOutput: false }]).ToList())
        {
            var value = node.Outputs[0]!;
            if (value.Constant is not { ByteLength: <= SmallBytes } tensor) continue;
            if (!known.TryGetValue(Key(tensor), out var same)) known[Key(tensor)] = same = ToInitializer(node, tensor);
            else Replace(value, same);
        }
    }

    // Under the name it had, by which users know it.
    private static OnnxValue ToInitializer(OnnxNode constant, LazyTensor tensor)
    {
        var graph = constant.Graph;
        var value = constant.Outputs[0]!;
        var uses = value.Uses.ToList();
        foreach (var use in uses) use.Node.SetInput(use.Index, null);
        graph.Remove(constant);
        var initializer = graph.AddInitializer(value.Name, tensor);
        foreach (var use in uses) use.Node.SetInput(use.Index, initializer);
        return initializer;
    }

    private static string Key(LazyTensor tensor) => $"{tensor.Type}[{string.Join(',', tensor.Shape)}]{Convert.ToHexString(tensor.ReadBytes())}";

    /// <summary>Integer tensors with the same numbers, or the same expressions, are the first of them, or a constant.</summary>
    private void ShareContents(OnnxGraph graph)
    {
        var known = new Dictionary<string, OnnxValue>();
        foreach (var value in graph.Nodes.SelectMany(node => node.Outputs).ToList())
        {
            if (value is null || value.IsGraphOutput || value.Constant is not null) continue;
            if (_facts.Of(value) is not { Content: { IsComplete: true } content, Shape: { } shape }) continue;
            var key = $"{content.Type}:{shape.Count}:{string.Join(',', content.Elements.Select(element => element!.Key))}";
            if (known.TryGetValue(key, out var same)) Replace(value, same);
            else if (content.IsConstant) Replace(value, known[key] = AddConstant(graph, $"{value.Name}_constant", content.ToTensor([.. shape.Select(size => size.Value!.Value)])));
            else known[key] = value;
        }
    }

    /// <summary>A Reshape to sizes of its input and numbers takes them from a constant: 0 stands for the input's own size there.</summary>
    private void SimplifyTarget(OnnxNode node)
    {
        if (node is not { OpType: "Reshape", Domain.Length: 0 } || node.GetInt("allowzero", 0) != 0 || node.Inputs is not [{ } data, { Constant: null } target]) return;
        if (_facts.Of(data).Shape is not { } shape || _facts.Of(target).Content is not { } content) return;
        var numbers = new long[content.Elements.Count];
        for (var i = 0; i < numbers.Length; i++)
        {
            if (content.Elements[i] is not { } size) return;
            if (size.Value is { } number) numbers[i] = number;
            else if (i < shape.Count && size.Equals(shape[i])) numbers[i] = 0;
            else return;
        }

        node.SetInput(1, AddConstant(node.Graph, $"{target.Name}_constant", LazyTensor.FromInt64s([numbers.Length], numbers)));
        _unused.Consider([target]);
    }

    private void SkipNoOp(OnnxNode node)
    {
        if (node is not { OpType: "Reshape" or "Expand", Domain.Length: 0, Inputs: [{ } input, ..], Outputs: [{ IsGraphOutput: false } output] }) return;
        if (input.Constant is not null || _facts.Of(input).Shape is not { } before || _facts.Of(output).Shape is not { } after) return;
        if (before.SequenceEqual(after)) Replace(output, input);
    }

    /// <summary>Nodes with the same inputs and attributes are one.</summary>
    private void ShareNodes(OnnxGraph graph)
    {
        var known = new Dictionary<string, OnnxNode>();
        foreach (var node in graph.Nodes.ToList())
        {
            if (node.Domain.Length > 0 || node.OpType == "Constant" || node.Subgraphs.Count > 0 || NotRepeatable.Contains(node.OpType)) continue;
            if (node.Outputs.Any(output => output is null or { IsGraphOutput: true })) continue;
            if (known.TryAdd(Key(node), node)) continue;
            var same = known[Key(node)];
            for (var i = 0; i < node.Outputs.Count; i++) Replace(node.Outputs[i]!, same.Outputs[i]!);
        }
    }

    // An inner graph's value may have the name of an outer one, so a value's own graph goes with its name.
    private static string Key(OnnxNode node)
    {
        var attributes = node.Proto.Attribute.OrderBy(attribute => attribute.Name, StringComparer.Ordinal).Select(attribute => Convert.ToHexString(attribute.ToByteArray()));
        var inputs = node.Inputs.Select(input => input is null ? "" : $"{Depth(input.Graph)} {input.Name.Length} {input.Name}");
        return $"{node.OpType} {node.Outputs.Count}\n{string.Join('\n', inputs)}\n{string.Join(' ', attributes)}";
    }

    private static int Depth(OnnxGraph graph) => graph.Parent is null ? 0 : 1 + Depth(graph.Parent);

    private OnnxValue AddConstant(OnnxGraph graph, string name, LazyTensor tensor)
    {
        var (key, constants) = (Key(tensor), Constants(graph));
        return constants.TryGetValue(key, out var same) ? same : constants[key] = graph.AddInitializer(graph.UniqueName(name), tensor);
    }

    private Dictionary<string, OnnxValue> Constants(OnnxGraph graph) => _constants.TryGetValue(graph, out var known) ? known : _constants[graph] = [];

    private void Replace(OnnxValue old, OnnxValue value)
    {
        old.Graph.ReplaceAllUses(old, value);
        _unused.Consider([old]);
    }
}
