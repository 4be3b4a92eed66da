using Onnx;
using OrtQuant.Attention;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Transforms;

namespace OrtQuant.GraphRewriter.Rewriting;

/// <summary>
/// Gives a model the functions that stand in for its custom ops where the native library is not registered. A model holds one
/// function per (domain, name, overload): nodes that need another body than the most frequent one carry an <c>overload</c>.
/// </summary>
internal static class FunctionEmitter
{
    // The first IR version with functions, and the first with overloads.
    private const long FunctionsIrVersion = 8;
    private const long OverloadsIrVersion = 10;

    /// <summary>Adds the functions for every node of the given ops in a model, and the imports they need.</summary>
    /// <param name="model">Its graph is complete; functions of these ops that it has already are replaced.</param>
    /// <param name="ops">The custom ops.</param>
    /// <returns>Nodes that no body exists for (their opset is too old): the model needs the library for these.</returns>
    public static IReadOnlyList<OnnxNode> Attach(OnnxModel model, IReadOnlyList<OpDescription> ops)
    {
        var withoutBody = new List<OnnxNode>();
        var types = new ElementTypeInference(model);
        foreach (var op in ops)
        {
            var nodes = model.AllGraphs.SelectMany(graph => graph.Nodes).Where(node => node.Domain == op.Domain && node.OpType == op.Name).ToArray();
            RemoveFunctions(model, op);
            if (nodes.Length == 0)
            {
                DropImport(model, op.Domain);
                continue;
            }

            model.EnsureOpset(op.Domain, op.SinceVersion);
            var bodies = nodes.Select(node => (Node: node, Body: op.Fallback(CallOf(node, types, (int)model.Opset())))).ToArray();
            withoutBody.AddRange(bodies.Where(pair => pair.Body is null).Select(pair => pair.Node));
            AddFunctions(model, op, [.. bodies.Where(pair => pair.Body is not null).Select(pair => (pair.Node, pair.Body!))]);
        }

        return withoutBody;
    }

    // A model that has been turned back needs nothing of this domain any more.
    private static void DropImport(OnnxModel model, string domain)
    {
        if (model.AllGraphs.SelectMany(graph => graph.Nodes).Any(node => node.Domain == domain)) return;
        var imports = model.Proto.OpsetImport;
        for (var i = imports.Count - 1; i >= 0; i--)
        {
            if (imports[i].Domain == domain) imports.RemoveAt(i);
        }
    }

    private static void RemoveFunctions(OnnxModel model, OpDescription op)
    {
        var functions = model.Proto.Functions;
        for (var i = functions.Count - 1; i >= 0; i--)
        {
            if (functions[i].Domain == op.Domain && functions[i].Name == op.Name) functions.RemoveAt(i);
        }
    }

    private static void AddFunctions(OnnxModel model, OpDescription op, (OnnxNode Node, FunctionBody Body)[] uses)
    {
        // The most frequent body needs no overload; ties are broken by name, so that the output depends on the model only.
        var variants = uses.GroupBy(use => use.Body.Variant)
            .OrderByDescending(group => group.Count()).ThenBy(group => group.Key, StringComparer.Ordinal).ToArray();
        for (var i = 0; i < variants.Length; i++)
        {
            var overload = i == 0 ? "" : variants[i].Key;
            foreach (var (node, _) in variants[i])
            {
                if (overload.Length > 0) node.Proto.Overload = overload;
                else node.Proto.ClearOverload();
            }

            model.AddFunction(FunctionOf(variants[i].First().Body, op, overload, model.Opset()));
            foreach (var domain in variants[i].First().Body.Domains.Where(domain => domain.Length > 0)) model.EnsureOpset(domain, 1);
        }

        if (variants.Length > 0)
        {
            model.Proto.IrVersion = Math.Max(model.Proto.IrVersion, variants.Length > 1 ? OverloadsIrVersion : FunctionsIrVersion);
        }
    }

    private static FallbackCall CallOf(OnnxNode node, ElementTypeInference types, int opset)
    {
        var inputs = node.Inputs.Select(input => input is null ? (ElementType?)null : types.Of(input)).ToArray();

        // Activations carry no declaration in many exports; what shares their type often does.
        if (inputs[0] == ElementType.Undefined && node.OpType != MaskedAttentionOp.Description.Name) inputs[0] = inputs.Skip(4).FirstOrDefault(type => type is not null) ?? ElementType.Undefined;
        return CallOf(node.Proto, inputs, opset);
    }

    /// <summary>What decides the body of a node.</summary>
    internal static FallbackCall CallOf(NodeProto node, IReadOnlyList<ElementType?> inputs, int opset) =>
        new(opset, inputs, [.. node.Attribute.Select(ValueOf).OfType<OpAttributeValue>()]);

    private static OpAttributeValue? ValueOf(AttributeProto attribute) => attribute.Type switch
    {
        AttributeProto.Types.AttributeType.Int => OpAttributeValue.Int(attribute.Name, attribute.I),
        AttributeProto.Types.AttributeType.Ints => OpAttributeValue.Ints(attribute.Name, [.. attribute.Ints]),
        AttributeProto.Types.AttributeType.Float => OpAttributeValue.Float(attribute.Name, attribute.F),
        AttributeProto.Types.AttributeType.String => OpAttributeValue.String(attribute.Name, attribute.S.ToStringUtf8()),
        _ => null,
    };

    private static FunctionProto FunctionOf(FunctionBody body, OpDescription op, string overload, long opset)
    {
        var function = new FunctionProto { Domain = op.Domain, Name = op.Name };
        if (overload.Length > 0) function.Overload = overload;
        function.Input.AddRange(body.Inputs);
        function.Output.AddRange(body.Outputs);
        function.Attribute.AddRange(body.Attributes);
        function.Node.AddRange(body.Nodes.Select(NodeOf));
        function.OpsetImport.AddRange(body.Domains.Order(StringComparer.Ordinal)
            .Select(domain => new OperatorSetIdProto { Domain = domain, Version = domain.Length == 0 ? opset : 1 }));
        return function;
    }

    private static NodeProto NodeOf(FunctionNode node)
    {
        var proto = Nodes.Create(node.Domain, node.OpType, "", node.Inputs, node.Outputs);
        proto.Attribute.AddRange(node.Attributes.Select(AttributeOf));
        return proto;
    }

    private static AttributeProto AttributeOf(FunctionAttribute attribute) => attribute switch
    {
        ReferenceAttribute reference => new AttributeProto
        {
            Name = reference.Name,
            RefAttrName = reference.Source,
            Type = (AttributeProto.Types.AttributeType)reference.Kind,
        },
        ValueAttribute value => Nodes.Attribute(value.Value),
        _ => throw new NotSupportedException($"attribute '{attribute.Name}' is a {attribute.GetType().Name}"),
    };
}
