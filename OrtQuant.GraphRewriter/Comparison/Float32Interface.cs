using Onnx;
using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Comparison;

/// <summary>
/// Takes the half-precision rounding at the edges of a graph away, for checks that look closer than a half can show: a value that
/// two correct computations put on either side of a rounding border differs by 1e-3, whatever the computations are worth.
/// </summary>
internal static class Float32Interface
{
    private const int Float32 = (int)TensorProto.Types.DataType.Float;

    /// <summary>
    /// Inputs and outputs of a half type become float32 where only a Cast stands between them and the inside, which then does nothing.
    /// </summary>
    /// <param name="graph">The main graph of a model.</param>
    /// <returns>Nothing in the graph is cast to a half type any more, nor comes in or goes out as one.</returns>
    public static bool Apply(GraphProto graph)
    {
        var readers = graph.Node.SelectMany(node => ProtoNames(node).Select(name => (name, node))).ToLookup(use => use.name, use => use.node);
        var producers = graph.Node.SelectMany(node => node.Output.Select(name => (name, node))).Where(pair => pair.name.Length > 0).ToDictionary(pair => pair.name, pair => pair.node);
        foreach (var input in graph.Input.Where(IsHalf))
        {
            if (readers[input.Name].All(IsCast)) SetFloat32(input);
        }

        foreach (var output in graph.Output.Where(IsHalf))
        {
            if (producers.TryGetValue(output.Name, out var cast) && IsCast(cast) && !readers[output.Name].Any())
            {
                SetFloat32(output);
                cast.Attribute.First(attribute => attribute.Name == "to").I = Float32;
            }
        }

        return !graph.Input.Concat(graph.Output).Any(IsHalf)
            && !graph.Node.Where(IsCast).Any(cast => cast.Attribute.Any(attribute => attribute.Name == "to" && IsHalf((int)attribute.I)));
    }

    // Names that a node reads, those that its inner graphs read from outside included.
    private static IEnumerable<string> ProtoNames(NodeProto node) => node.Input.Concat(
        ProtoWalk.Bodies(node).SelectMany(inner => inner.Node.SelectMany(ProtoNames).Concat(inner.Output.Select(output => output.Name))));

    private static bool IsCast(NodeProto node) => node is { OpType: "Cast", Domain.Length: 0 };

    private static bool IsHalf(ValueInfoProto value) => IsHalf(value.Type?.TensorType?.ElemType ?? 0);

    private static bool IsHalf(int type) => type is (int)TensorProto.Types.DataType.Float16 or (int)TensorProto.Types.DataType.Bfloat16;

    private static void SetFloat32(ValueInfoProto value) => value.Type.TensorType.ElemType = Float32;
}
