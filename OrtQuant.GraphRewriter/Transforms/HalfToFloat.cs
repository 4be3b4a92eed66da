using Onnx;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Transforms;

/// <summary>
/// Turns the inside of a float16 or bfloat16 model to float32: initializers (as views, converted when they are read), tensors of attributes,
/// attributes that name a type, declared types, inner graphs and functions. Tables that rows are gathered from keep their type. Inputs and outputs of the model keep name and
/// type, with a Cast at each, unless they are to change too; nodes that append to a float16 KV cache then stay float16 (<see cref="CacheNode"/>), with casts
/// around them. Casts that have become casts from float32 to float32 go.
/// </summary>
/// <remarks>
/// An initializer that is listed as an input as well is a weight with a slot that nobody fills: it becomes float32, the slot too. (ONNX
/// Runtime 1.29 crashes at its highest optimization level on a Cast of one.)
/// </remarks>
internal sealed class HalfToFloat
{
    // Attributes that hold a TensorProto.DataType, on whichever standard operator.
    private static readonly HashSet<string> TypeAttributes = ["to", "dtype", "output_dtype", "output_datatype", "stash_type", "softmax_precision"];

    private readonly OnnxModel _model;
    private readonly bool _interface;
    private readonly ElementTypeInference _types;
    private readonly HashSet<string> _nodeNames;
    private readonly List<OnnxNode> _cacheNodes;

    private HalfToFloat(OnnxModel model, bool convertInterface)
    {
        _model = model;
        _interface = convertInterface;
        _types = new ElementTypeInference(model);
        _nodeNames = [.. model.AllGraphs.SelectMany(graph => graph.Nodes).Select(node => node.Name)];
        _cacheNodes = convertInterface ? [] : CacheNode.Find(model);
    }

    /// <summary>Whether anything in the model is of a half type.</summary>
    internal static bool IsNeeded(OnnxModel model) => model.AllGraphs.Any(graph =>
        graph.Proto.Input.Concat(graph.Proto.Output).Any(info => HoldsHalf(info.Type))
        || graph.Initializers.Any(value => IsHalf(value.Type) && !value.Uses.All(use => IsGather(use) || IsStored(use)))
        || graph.Nodes.Any(node => node.Proto.Attribute.Any(attribute => IsHalfType(node, attribute) || IsHalf((ElementType?)attribute.T?.DataType))));

    /// <summary>Changes the model.</summary>
    /// <param name="model">The model.</param>
    /// <param name="convertInterface">Inputs and outputs become float32, too.</param>
    /// <exception cref="OrtQuantException">An input or output is a sequence or optional of a half type, which cannot be cast.</exception>
    internal static void Run(OnnxModel model, bool convertInterface) => new HalfToFloat(model, convertInterface).Run();

    private void Run()
    {
        var casts = _model.AllGraphs.SelectMany(graph => graph.Nodes).Where(BecomesNoOp).ToList();
        var kept = KeptInitializers();
        KeepTables(kept);
        if (!_interface) CastInterface();
        foreach (var graph in _model.AllGraphs) Convert(graph, kept);
        ConvertFunctions();
        foreach (var node in _cacheNodes) CastAround(node);
        foreach (var cast in casts) Drop(cast);
    }

    // Read before anything changes: afterwards every half type reads as float32.
    private bool BecomesNoOp(OnnxNode node) =>
        node is { OpType: "Cast", Domain.Length: 0, Inputs: [{ } input] }
        && IsFloatOrHalf((ElementType)node.GetInt("to", 0))
        && IsFloatOrHalf(_types.Of(input));

    /// <summary>
    /// Scales and zero points of packed weights, whose type is not that of the activations, and constants of nodes that stay half. What else reads
    /// one gets a converted copy of it.
    /// </summary>
    private HashSet<OnnxValue> KeptInitializers()
    {
        var kept = new HashSet<OnnxValue>();
        foreach (var value in _model.AllGraphs.SelectMany(graph => graph.Initializers).Where(value => IsHalf(value.Type)).ToList())
        {
            var uses = value.Uses.ToLookup(KeepsType);
            if (!uses[true].Any()) continue;
            kept.Add(value);
            if (!uses[false].Any() || value.Constant is not { } tensor) continue;
            var copy = value.Graph.AddInitializer(_model.UniqueName($"{value.Name}_fp32"), new ConvertedTensor(tensor));
            foreach (var use in uses[false]) use.Node.SetInput(use.Index, copy);
        }

        return kept;
    }

    /// <summary>
    /// Tables whose rows are gathered (embeddings, rotary caches) keep their type, and the rows are cast: it costs a few rows a run and saves
    /// a second copy of the table, twice the size.
    /// </summary>
    private void KeepTables(HashSet<OnnxValue> kept)
    {
        foreach (var table in _model.AllGraphs.SelectMany(graph => graph.Initializers).Where(value => IsHalf(value.Type)).ToList())
        {
            if (table.Constant is null || table.IsGraphOutput || table.Uses.Count == 0 || !table.Uses.All(IsGather) || !kept.Add(table)) continue;
            foreach (var use in table.Uses)
            {
                var (gather, rows) = (use.Node, use.Node.Outputs[0]!);
                var half = gather.Graph.AddValue(_model.UniqueName($"{rows.Name}_half"));
                gather.TakeOutput(0, half);
                gather.Graph.InsertAfter(gather, Cast(half.Name, rows.Name, ElementType.Float32));
            }
        }
    }

    private static bool IsGather(Use use) => use is { Index: 0, Node: { OpType: "Gather", Domain.Length: 0, Outputs: [not null] } };

    private bool KeepsType(Use use) =>
        IsStored(use) || (_cacheNodes.Contains(use.Node) && CacheNode.TypedInputs(use.Node.OpType, use.Node.Inputs.Count).Contains(use.Index));

    private static bool IsStored(Use use) => use.Node.Domain == "ortquant" && use.Node.OpType != "MaskedAttention" && use.Index is >= 1 and <= 3;

    private void CastInterface()
    {
        var graph = _model.Graph;
        foreach (var info in graph.Proto.Input.Concat(graph.Proto.Output))
        {
            if (info.Type?.TensorType is null && HoldsHalf(info.Type))
            {
                throw new OrtQuantException($"'{info.Name}' of the model's inputs and outputs is a {info.Type!.ValueCase} of a half type, which cannot be cast; keep the activations as they are");
            }
        }

        foreach (var input in graph.Inputs.Where(value => IsHalf(value.Type) && !value.IsInitializer).ToList()) CastInput(input);
        foreach (var output in graph.Outputs.Where(value => IsHalf(_types.Of(value))).ToList()) CastOutput(output);
    }

    /// <summary>Readers of a value that stays half read a cast of it.</summary>
    private void CastInput(OnnxValue value)
    {
        var uses = value.Uses.Where(use => !KeepsType(use) && use.Node is not { OpType: "Shape" or "Size", Domain.Length: 0 }).ToList();
        if (uses.Count == 0) return;
        var cast = Cast(value.Name, _model.UniqueName($"{value.Name}_fp32"), ElementType.Float32);
        var inside = _model.Graph.Insert(0, cast).Outputs[0]!;
        foreach (var use in uses) use.Node.SetInput(use.Index, inside);
    }

    private void CastOutput(OnnxValue output)
    {
        var type = _types.Of(output);
        if (output.IsGraphInput || (output.Producer is { } node && _cacheNodes.Contains(node) && CacheNode.TypedOutputs(node).Contains(output))) return;
        if (output.Producer is not { } producer)
        {
            // An initializer that is an output as well.
            CastInput(output);
            return;
        }

        var inside = _model.Graph.AddValue(_model.UniqueName($"{output.Name}_fp32"));
        producer.TakeOutput(producer.Outputs.ToList().IndexOf(output), inside);
        _model.Graph.ReplaceAllUses(output, inside);
        _model.Graph.AddNode(Cast(inside.Name, output.Name, type));
    }

    /// <summary>Puts casts between a node that stays float16 and the float32 graph around it.</summary>
    private void CastAround(OnnxNode node)
    {
        foreach (var index in CacheNode.TypedInputs(node.OpType, node.Inputs.Count))
        {
            if (node.Inputs[index] is not { } input || (input.IsGraphInput && input.Producer is null) || input.IsInitializer) continue;
            var cast = Cast(input.Name, _model.UniqueName($"{input.Name}_half"), ElementType.Float16);
            node.SetInput(index, node.Graph.InsertBefore(node, cast).Outputs[0]!);
        }

        foreach (var output in CacheNode.TypedOutputs(node).ToList())
        {
            var uses = output.Uses.Where(use => !_cacheNodes.Contains(use.Node)).ToList();
            if (uses.Count == 0) continue;
            var cast = node.Graph.InsertAfter(node, Cast(output.Name, _model.UniqueName($"{output.Name}_fp32"), ElementType.Float32)).Outputs[0]!;
            foreach (var use in uses) use.Node.SetInput(use.Index, cast);
        }
    }

    private void Convert(OnnxGraph graph, HashSet<OnnxValue> kept)
    {
        var main = graph.Parent is null && !_interface;
        foreach (var value in graph.Initializers.Where(value => IsHalf(value.Type) && !kept.Contains(value)).ToList())
        {
            if (main && value.IsGraphOutput) continue;
            graph.ReplaceInitializer(value, new ConvertedTensor(value.Initializer!));
        }

        foreach (var sparse in graph.Proto.SparseInitializer) Convert(sparse.Values);
        var inputs = graph.Proto.Input.Where(info => !main || graph.Find(info.Name) is { IsInitializer: true, IsGraphOutput: false });
        var declared = graph.Proto.ValueInfo.Concat(inputs).Concat(main ? [] : graph.Proto.Output);
        var half = _cacheNodes.SelectMany(CacheNode.TypedOutputs).Select(output => output.Name).ToHashSet();
        foreach (var info in declared.Where(info => graph.Parent is not null || !half.Contains(info.Name))) Convert(info.Type);
        foreach (var node in graph.Nodes)
        {
            // The casts at the model's edges are the only nodes that still name a half type.
            if (main && IsEdge(node)) continue;
            Convert(node.Proto);
        }
    }

    private static bool IsEdge(OnnxNode node) =>
        node is { OpType: "Cast", Domain.Length: 0, Outputs: [{ IsGraphOutput: true } output] } && IsHalf(output.Type);

    private void Convert(NodeProto node)
    {
        foreach (var attribute in node.Attribute)
        {
            if (IsTypeAttribute(node, attribute) && IsHalf((ElementType)attribute.I)) attribute.I = (long)ElementType.Float32;
            foreach (var tensor in attribute.T is null ? attribute.Tensors : attribute.Tensors.Prepend(attribute.T))
            {
                Convert(tensor);
            }

            Convert(attribute.SparseTensor?.Values);
        }
    }

    private void Convert(TensorProto? tensor)
    {
        if (IsHalf((ElementType?)tensor?.DataType)) _model.Tensors.Refer(tensor!, new ConvertedTensor(_model.Tensors.Find(tensor!)!));
    }

    private void ConvertFunctions()
    {
        foreach (var function in _model.Proto.Functions)
        {
            foreach (var node in ProtoWalk.Nodes(function)) Convert(node);
            foreach (var info in function.ValueInfo) Convert(info.Type);
            foreach (var graph in ProtoWalk.Graphs(function))
            {
                foreach (var info in graph.Input.Concat(graph.Output).Concat(graph.ValueInfo)) Convert(info.Type);
                foreach (var tensor in graph.Initializer) Convert(tensor);
            }
        }

        ConvertForwardedTypes();
    }

    /// <summary>Types that a function takes from its caller: the caller names one, or the function has a default.</summary>
    private void ConvertForwardedTypes()
    {
        var functions = _model.Proto.Functions;
        var forwarded = new HashSet<(string Domain, string Name, string Attribute)>();
        for (var known = -1; forwarded.Count != known;)
        {
            // A function may hand on what it is given itself.
            known = forwarded.Count;
            foreach (var function in functions)
            {
                var taken = ProtoWalk.Nodes(function).SelectMany(node => node.Attribute
                    .Where(attribute => attribute.RefAttrName.Length > 0)
                    .Where(attribute => IsTypeAttribute(node, attribute) || forwarded.Contains((node.Domain, node.OpType, attribute.Name))));
                forwarded.UnionWith(taken.Select(attribute => (function.Domain, function.Name, attribute.RefAttrName)).ToList());
            }
        }

        var calls = _model.AllGraphs.SelectMany(graph => graph.Nodes).Select(node => node.Proto).Concat(functions.SelectMany(ProtoWalk.Nodes))
            .SelectMany(node => node.Attribute.Where(attribute => forwarded.Contains((node.Domain, node.OpType, attribute.Name))));
        var defaults = functions.SelectMany(function => function.AttributeProto.Where(attribute => forwarded.Contains((function.Domain, function.Name, attribute.Name))));
        foreach (var attribute in calls.Concat(defaults).Where(attribute => IsHalf((ElementType)attribute.I))) attribute.I = (long)ElementType.Float32;
    }

    /// <summary>Takes out a cast from float32 to float32.</summary>
    private static void Drop(OnnxNode cast)
    {
        var (input, output) = (cast.Inputs[0]!, cast.Outputs[0]!);
        if (output.IsGraphOutput) return;
        cast.Graph.ReplaceAllUses(output, input);
        cast.Graph.Remove(cast);
    }

    private static void Convert(TypeProto? type)
    {
        switch (type?.ValueCase)
        {
            case TypeProto.ValueOneofCase.TensorType when IsHalf((ElementType)type.TensorType.ElemType):
                type.TensorType.ElemType = (int)ElementType.Float32;
                break;
            case TypeProto.ValueOneofCase.SequenceType:
                Convert(type.SequenceType.ElemType);
                break;
            case TypeProto.ValueOneofCase.OptionalType:
                Convert(type.OptionalType.ElemType);
                break;
        }
    }

    private static bool HoldsHalf(TypeProto? type) => type?.ValueCase switch
    {
        TypeProto.ValueOneofCase.TensorType => IsHalf((ElementType)type.TensorType.ElemType),
        TypeProto.ValueOneofCase.SequenceType => HoldsHalf(type.SequenceType.ElemType),
        TypeProto.ValueOneofCase.OptionalType => HoldsHalf(type.OptionalType.ElemType),
        _ => false,
    };

    private static bool IsHalfType(OnnxNode node, AttributeProto attribute) =>
        IsTypeAttribute(node.Proto, attribute) && IsHalf((ElementType)attribute.I);

    private static bool IsTypeAttribute(NodeProto node, AttributeProto attribute) =>
        node.Domain is "" or "ai.onnx" or "ortquant" && TypeAttributes.Contains(attribute.Name);

    private static bool IsFloatOrHalf(ElementType type) => type == ElementType.Float32 || IsHalf(type);

    private static bool IsHalf(ElementType? type) => type is ElementType.Float16 or ElementType.BFloat16;

    private NodeProto Cast(string input, string output, ElementType to) => new()
    {
        Name = NodeName($"{output}/Cast"),
        OpType = "Cast",
        Input = { input },
        Output = { output },
        Attribute = { new AttributeProto { Name = "to", Type = AttributeProto.Types.AttributeType.Int, I = (long)to } },
    };

    // A model that has been through here before has nodes of these names.
    private string NodeName(string hint)
    {
        var name = hint;
        for (var i = 1; !_nodeNames.Add(name); i++) name = $"{hint}_{i}";
        return name;
    }
}
