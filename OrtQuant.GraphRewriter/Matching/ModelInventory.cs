using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Adoption;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Matching;

/// <summary>Nodes of one op type.</summary>
internal sealed record OpCount(string Domain, string OpType, int Count)
{
    internal string Name => Domain.Length == 0 ? OpType : $"{Domain}::{OpType}";
}

/// <summary>Constants of one element type.</summary>
internal sealed record TypeTotal(ElementType Type, int Count, long Elements, long Bytes);

/// <summary>A matrix that the model multiplies by or gathers from, as it is stored.</summary>
/// <param name="Name">Name of the tensor that holds it, or its codes.</param>
/// <param name="Nodes">Nodes that read it.</param>
/// <param name="Shape">N outputs, K inputs.</param>
/// <param name="Format">Element type, or bits and group size.</param>
/// <param name="Bytes">Bytes stored: codes, scales and zero points.</param>
/// <param name="IsHeadOrTable">It gives the model's output, or rows are gathered from it: no linear of a layer.</param>
internal sealed record StoredWeight(string Name, IReadOnlyList<string> Nodes, WeightShape Shape, string Format, long Bytes, bool IsHeadOrTable)
{
    internal double BitsPerWeight => Bytes * 8.0 / Shape.Count;
}

/// <summary>What a model is made of.</summary>
internal sealed record ModelInventory(IReadOnlyList<OpCount> Ops, IReadOnlyList<TypeTotal> Types, IReadOnlyList<StoredWeight> Weights)
{
    /// <summary>Stored bits of weights divided by the number of their values; null without any.</summary>
    internal static double? BitsPerWeight(IReadOnlyList<StoredWeight> weights) =>
        weights.Count == 0 ? null : weights.Sum(weight => weight.Bytes) * 8.0 / weights.Sum(weight => (double)weight.Shape.Count);

    /// <summary>Counts and lists; reads no weight.</summary>
    internal static ModelInventory Of(OnnxModel model)
    {
        var nodes = model.AllGraphs.SelectMany(graph => graph.Nodes).ToList();
        var ops = nodes.GroupBy(node => (node.Domain, node.OpType))
            .Select(group => new OpCount(group.Key.Domain, group.Key.OpType, group.Count()))
            .OrderByDescending(op => op.Count).ThenBy(op => op.Name, StringComparer.Ordinal);
        var types = model.AllGraphs.SelectMany(graph => graph.Initializers).Concat(nodes.Where(node => node.OpType == "Constant").Select(node => node.Outputs[0]!))
            .Select(value => value.Constant).OfType<LazyTensor>()
            .GroupBy(tensor => tensor.Type)
            .Select(group => new TypeTotal(group.Key, group.Count(), group.Sum(tensor => tensor.Count), group.Sum(tensor => tensor.ByteLength)))
            .OrderByDescending(total => total.Bytes);
        var floats = WeightMatcher.Match(model).Weights.Where(weight => weight.Matrix.Quantized?.Layout is null or CodeLayout.RowMajor or CodeLayout.ColumnMajor).Select(weight => new StoredWeight(
            weight.Name,
            [.. weight.Linears.Select(use => use.Node.DisplayName()), .. weight.Tables.Select(use => use.Node.DisplayName())],
            weight.Matrix.Shape,
            weight.Matrix.StoredType.ToString().ToLowerInvariant(),
            weight.Matrix.StoredType.ByteLength(weight.Matrix.Shape.Count),
            weight.Tables.Count > 0 || weight.Linears.Any(HeadFinder.IsHead)));
        return new ModelInventory([.. ops], [.. types], [.. floats, .. Packed(nodes)]);
    }

    /// <summary>Weights in codes: nodes that say their K, N and bits, ours and those of com.microsoft.</summary>
    private static IEnumerable<StoredWeight> Packed(IEnumerable<OnnxNode> nodes) =>
        nodes.Where(node => node.Inputs.Count > 1 && node.Inputs[1] is not null && node.Attribute("bits") is not null && node.Attribute("K") is not null && node.Attribute("N") is not null)
            .GroupBy(node => node.Inputs[1]!)
            .Select(readers =>
            {
                var node = readers.First();
                var group = node.GetInt("block_size", 0);
                var constants = node.Inputs.Skip(1).Take(3).Select(input => input?.Constant).OfType<LazyTensor>();
                return new StoredWeight(
                    readers.Key.Name,
                    [.. readers.Select(reader => reader.DisplayName())],
                    new WeightShape(node.GetInt("N", 1), node.GetInt("K", 1)),
                    $"{node.GetInt("bits", 0)}-bit {(group < 0 ? "whole row" : $"g{group}")}",
                    constants.Sum(tensor => tensor.ByteLength),
                    readers.Any(reader => reader.OpType.StartsWith("Gather", StringComparison.Ordinal) || HeadFinder.IsHead(reader.Outputs[0]!)));
            });
}
