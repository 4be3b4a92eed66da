using Onnx;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Transforms;

namespace OrtQuant.GraphRewriter.Comparison;

/// <summary>
/// Takes the half-precision rounding at the edges of a graph away, for checks that look closer than a half can show: a value that
/// two correct computations put on either side of a rounding border differs by 1e-3, whatever the computations are worth.
/// </summary>
internal static class Float32Interface
{
    private const int Float32 = (int)TensorProto.Types.DataType.Float;

    /// <summary>
    /// Inputs and outputs of a half type become float32 where only casts, and nodes that append to a float16 cache (<see cref="CacheNode"/>), stand
    /// between them and the inside. The casts then do nothing, and those nodes compute in float32.
    /// </summary>
    /// <param name="graph">The main graph of a model.</param>
    /// <returns>Nothing in the graph is cast to a half type any more, nor comes in or goes out as one.</returns>
    public static bool Apply(GraphProto graph)
    {
        var readers = graph.Node.SelectMany(node => ProtoNames(node).Select(name => (name, node))).ToLookup(use => use.name, use => use.node);
        var producers = graph.Node.SelectMany(node => node.Output.Select(name => (name, node))).Where(pair => pair.name.Length > 0).ToDictionary(pair => pair.name, pair => pair.node);
        // By reference: messages are equal by content, which is about to change.
        var cacheNodes = new HashSet<NodeProto>(ReferenceEqualityComparer.Instance);
        cacheNodes.UnionWith(graph.Node.Where(node => IsHalfCacheNode(node, graph) && StandsBetweenCasts(node, readers, producers)));
        foreach (var node in cacheNodes) MakeFloat32(node, graph, producers);
        foreach (var input in graph.Input.Where(IsHalf))
        {
            if (readers[input.Name].All(node => IsCast(node) || IsShape(node) || cacheNodes.Contains(node))) SetFloat32(input);
        }

        foreach (var output in graph.Output.Where(IsHalf))
        {
            if (!producers.TryGetValue(output.Name, out var producer)) continue;
            if (cacheNodes.Contains(producer))
            {
                SetFloat32(output);
            }
            else if (IsCast(producer) && !readers[output.Name].Any())
            {
                SetFloat32(output);
                SetTarget(producer);
            }
        }

        return !graph.Input.Concat(graph.Output).Any(IsHalf)
            && !graph.Node.Where(IsCast).Any(cast => cast.Attribute.Any(attribute => attribute.Name == "to" && IsHalf((int)attribute.I)));
    }

    private static bool IsHalfCacheNode(NodeProto node, GraphProto graph) =>
        CacheNode.IsKnown(node.Domain, node.OpType)
        && graph.Input.Any(input => IsHalf(input) && node.Input.Contains(input.Name))
        && graph.Output.Any(output => IsHalf(output) && node.Output.Contains(output.Name));

    // In a graph that is half-precision inside, other nodes give and take what the node computes.
    private static bool StandsBetweenCasts(NodeProto node, ILookup<string, NodeProto> readers, Dictionary<string, NodeProto> producers) =>
        CacheNode.TypedInputs(node.OpType, node.Input.Count).Select(index => node.Input[index]).Where(producers.ContainsKey)
            .All(name => IsCast(producers[name]) && readers[name].Distinct().Count() == 1)
        && CacheNode.TypedOutputs(node.OpType, node.Output).SelectMany(name => readers[name]).All(reader => IsCast(reader) || IsShape(reader));

    // The past inputs and present outputs are the caller's; casts to half in front of the node lose their target, constants get a cast.
    private static void MakeFloat32(NodeProto node, GraphProto graph, Dictionary<string, NodeProto> producers)
    {
        foreach (var index in CacheNode.TypedInputs(node.OpType, node.Input.Count).Where(index => node.Input[index].Length > 0))
        {
            var name = node.Input[index];
            if (producers.TryGetValue(name, out var cast) && IsCast(cast))
            {
                SetTarget(cast);
            }
            else if (graph.Initializer.Any(tensor => tensor.Name == name && IsHalf(tensor.DataType)))
            {
                var converted = $"{name}/{node.Output[0]}/fp32";
                graph.Node.Insert(0, new NodeProto
                {
                    OpType = "Cast",
                    Input = { name },
                    Output = { converted },
                    Attribute = { new AttributeProto { Name = "to", Type = AttributeProto.Types.AttributeType.Int, I = Float32 } },
                });
                node.Input[index] = converted;
            }
        }

        var outputs = CacheNode.TypedOutputs(node.OpType, node.Output).ToHashSet();
        foreach (var info in graph.ValueInfo.Where(info => outputs.Contains(info.Name) && IsHalf(info))) SetFloat32(info);
    }

    private static void SetTarget(NodeProto cast) => cast.Attribute.First(attribute => attribute.Name == "to").I = Float32;

    // Names that a node reads, those that its inner graphs read from outside included.
    private static IEnumerable<string> ProtoNames(NodeProto node) => node.Input.Concat(
        ProtoWalk.Bodies(node).SelectMany(inner => inner.Node.SelectMany(ProtoNames).Concat(inner.Output.Select(output => output.Name))));

    private static bool IsCast(NodeProto node) => node is { OpType: "Cast", Domain.Length: 0 };

    // Of no type: what it gives is the same for all.
    private static bool IsShape(NodeProto node) => node is { OpType: "Shape" or "Size", Domain.Length: 0 };

    private static bool IsHalf(ValueInfoProto value) => IsHalf(value.Type?.TensorType?.ElemType ?? 0);

    private static bool IsHalf(int type) => type is (int)TensorProto.Types.DataType.Float16 or (int)TensorProto.Types.DataType.Bfloat16;

    private static void SetFloat32(ValueInfoProto value) => value.Type.TensorType.ElemType = Float32;
}
