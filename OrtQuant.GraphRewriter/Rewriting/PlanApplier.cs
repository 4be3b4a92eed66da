using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Adapters;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Matching;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Rewriting;

/// <summary>
/// Turns a model into the one that its plan describes. Requires: a plan that holds for the model. Ensures: every packed weight is a set of
/// initializers that are generated when the model is saved, every node of the plan reads it, outputs keep their names, and nothing is
/// left that only the replaced nodes needed. No weight is read here, except to check that copies are copies.
/// </summary>
internal sealed class PlanApplier(OnnxModel model, QuantizationPlan plan, RewriteOptions options)
{
    private readonly List<EmittedNode> _nodes = [];
    private readonly UnusedValues _unused = new();

    /// <summary>Changes the model.</summary>
    /// <param name="weights">The weights, prepared from the same model and plan.</param>
    /// <exception cref="PlanException">The plan does not hold for the model.</exception>
    internal AppliedPlan Apply(PackedWeights weights)
    {
        var encodings = new List<WeightEncoding>();
        foreach (var weight in weights.All)
        {
            options.CancellationToken.ThrowIfCancellationRequested();
            encodings.Add(Emit(weight));
        }

        _unused.Remove();
        FunctionEmitter.Attach(model, OpCatalog.All);
        return new AppliedPlan(encodings, _nodes);
    }

    private WeightEncoding Emit(PackedWeight weight)
    {
        var encoding = new WeightEncoding(weight, SchemeCatalog.Get(weight.Plan.Scheme), plan.Emit, options);
        var home = Home(weight);
        var name = WeightNaming.Tensor(weight);
        var tensors = new Dictionary<string, string>();
        var producer = new TensorProducer([.. encoding.Tensors.Select(spec => (spec.Type, spec.Shape))], encoding.Encode);
        encoding.Generated = producer.Tensors;
        foreach (var (spec, tensor) in encoding.Tensors.Zip(producer.Tensors))
        {
            tensors[spec.Input] = home.AddInitializer(home.UniqueName($"{name}.{spec.Input}"), tensor).Name;
        }

        var linearInputs = new Dictionary<string, string>(tensors);
        if (weight.Changes.Where(change => change.Pool == 1).ToList() is { Count: > 0 } changes)
        {
            var (a, b) = LowRankInputs.Create(changes, weight.Shape, weight.Type);
            linearInputs["low_rank_a"] = home.AddInitializer(home.UniqueName($"{name}.low_rank_a"), a).Name;
            linearInputs["low_rank_b"] = home.AddInitializer(home.UniqueName($"{name}.low_rank_b"), b).Name;
        }

        foreach (var parts in weight.Linears) EmitLinear(encoding, linearInputs, parts);
        foreach (var table in weight.Tables) EmitTable(encoding, tensors, table);
        return encoding;
    }

    /// <summary>The innermost graph that every reader of the weight sees: that of the constants it comes from.</summary>
    private static OnnxGraph Home(PackedWeight weight)
    {
        var homes = weight.Roots.Select(root => root.Graph).Distinct().ToList();
        return homes.Count == 1 ? homes[0] : weight.Linears[0][0].Use.Node.Graph;
    }

    private void EmitLinear(WeightEncoding encoding, Dictionary<string, string> tensors, LinearPart[] parts)
    {
        var first = parts[0].Use;
        var graph = first.Node.Graph;
        var name = WeightNaming.Node(parts);
        var bias = BiasVector.Create(graph, parts, encoding.Weight.Type, $"{name}.bias");
        var nodes = new NodeSequence(graph, parts.Select(part => part.Use.Node), parts.Select(part => part.Use.BiasAdd));
        foreach (var part in parts) RemoveOld(part.Use.Node, part.Use.BiasAdd);

        var x = first.TransposeX ? nodes.Add("Transpose", $"{name}/transpose", [first.X.Name], null, OpAttributeValue.Ints("perm", 1, 0)) : first.X.Name;
        var inputs = new Dictionary<string, string>(tensors) { ["X"] = x };
        if (bias is not null) inputs["bias"] = bias.Name;
        var direct = parts.Length == 1 && first.Addend is null;
        var y = direct ? first.Y.Name : graph.UniqueName($"{name}_output");
        DeclareType(graph.Find(x)!, encoding.Weight.Type);
        Emit(encoding, nodes, encoding.Storage.Op, name, inputs, y, encoding.Storage.Attributes);
        if (first.Addend is { } addend) EmitAddend(nodes, name, encoding.Weight.Type, addend, y, first.Y.Name);
        if (parts.Length > 1) EmitSplit(nodes, name, graph, y, parts);
    }

    private void EmitTable(WeightEncoding encoding, Dictionary<string, string> tensors, TableUse table)
    {
        var graph = table.Node.Graph;
        var nodes = new NodeSequence(graph, [table.Node], []);
        var (name, y) = (table.Node.DisplayName(), table.Node.Outputs[0]!.Name);
        RemoveOld(table.Node, null);
        var inputs = new Dictionary<string, string>(tensors) { ["indices"] = table.Indices.Name };
        var storage = encoding.Storage;
        var op = storage.GatherOp ?? throw new PlanException($"scheme '{encoding.Scheme.Name}' cannot hold embedding '{name}'; it has no op that gathers rows");
        if (storage.GatherShape is { } shape)
        {
            var target = graph.AddInitializer(graph.UniqueName($"{name}/rows_shape"), LazyTensor.FromInt64s([shape.Count], [.. shape]));
            inputs["W"] = nodes.Add("Reshape", $"{name}/rows", [inputs["W"], target.Name]);
        }

        Emit(encoding, nodes, op, name, inputs, y, storage.GatherAttributes);
    }

    private void Emit(
        WeightEncoding encoding, NodeSequence nodes, OpDescription op, string name, Dictionary<string, string> inputs, string y, IEnumerable<OpAttributeValue> attributes)
    {
        var names = op.Inputs.Select(input => inputs.GetValueOrDefault(input.Name, "")).ToList();
        var present = names.FindLastIndex(input => input.Length > 0) + 1;
        _nodes.Add(new EmittedNode(nodes.Add(op.Domain, op.Name, name, names.Take(present), [y], attributes), encoding));
        model.EnsureOpset(op.Domain, op.SinceVersion);
    }

    // The fallback function depends on it, and few exports declare what is inside the graph.
    private static void DeclareType(OnnxValue value, ElementType type)
    {
        if (value.Type is null) value.Graph.Declare(value.Name, type, null);
    }

    private static void EmitAddend(NodeSequence nodes, string name, ElementType type, (OnnxValue Value, float Scale) addend, string product, string y)
    {
        var c = addend.Value.Name;
        if (addend.Scale != 1)
        {
            var graph = addend.Value.Graph;
            var beta = graph.AddInitializer(graph.UniqueName($"{name}/beta"), LazyTensor.FromFloats(type, [], [addend.Scale]));
            c = nodes.Add("Mul", $"{name}/scale_c", [c, beta.Name]);
        }

        nodes.Add("Add", $"{name}/add_c", [product, c], y);
    }

    private void EmitSplit(NodeSequence nodes, string name, OnnxGraph graph, string y, LinearPart[] parts)
    {
        const int SplitTakesSizesAsInput = 13;
        var sizes = parts.Select(part => part.N).ToArray();
        var outputs = parts.Select(part => part.Use.Y.Name);
        var axis = OpAttributeValue.Int("axis", -1);
        if (model.Opset() < SplitTakesSizesAsInput)
        {
            nodes.Add("", "Split", $"{name}/split", [y], outputs, axis, OpAttributeValue.Ints("split", sizes));
            return;
        }

        var input = graph.AddInitializer(graph.UniqueName($"{name}/split_sizes"), LazyTensor.FromInt64s([sizes.Length], sizes));
        nodes.Add("", "Split", $"{name}/split", [y, input.Name], outputs, axis);
    }

    private void RemoveOld(OnnxNode node, OnnxNode? biasAdd)
    {
        foreach (var old in (ReadOnlySpan<OnnxNode?>)[biasAdd, node])
        {
            if (old is null) continue;
            _unused.Consider(old.Inputs);
            old.Graph.Remove(old);
        }
    }
}
