using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Matching;

/// <summary>
/// A constant as one node sees it: the stored tensor, and the chain of Transpose, Cast, Identity, Reshape, Squeeze and
/// Unsqueeze between the two as a shape with strides. Nothing is read.
/// </summary>
internal sealed class ConstantView
{
    private ConstantView(OnnxValue root, LazyTensor tensor, IReadOnlyList<OnnxNode> chain, ElementType type, StridedShape layout)
    {
        Root = root;
        Tensor = tensor;
        Chain = chain;
        Type = type;
        Layout = layout;
    }

    /// <summary>The initializer, or the output of the Constant node.</summary>
    internal OnnxValue Root { get; }

    /// <summary>The stored tensor.</summary>
    internal LazyTensor Tensor { get; }

    /// <summary>The nodes between the tensor and the reader, the reader's side first; without a Constant node.</summary>
    internal IReadOnlyList<OnnxNode> Chain { get; }

    /// <summary>Element type at the reader: the tensor's own, or that of the last Cast.</summary>
    internal ElementType Type { get; }

    /// <summary>Shape at the reader, and where its elements lie in the tensor.</summary>
    internal StridedShape Layout { get; }

    internal IReadOnlyList<long> Shape => Layout.Shape;

    /// <summary>Whether the value is a constant, usable or not.</summary>
    internal static bool IsConstant(OnnxValue value)
    {
        var root = value;
        while (root.Constant is null && root.Producer is { } producer && IsView(producer)) root = producer.Inputs[0]!;
        return root.Constant is not null || root is { IsGraphInput: true, IsInitializer: true };
    }

    /// <summary>Follows a value back to the constant it comes from.</summary>
    /// <param name="value">The value that the reader has as input.</param>
    /// <param name="mismatch">Why there is no view: not a constant, or one that cannot be used.</param>
    internal static ConstantView? Trace(OnnxValue value, out Mismatch? mismatch)
    {
        var chain = new List<OnnxNode>();
        var root = value;
        while (root.Constant is null && root.Producer is { } producer && IsView(producer))
        {
            chain.Add(producer);
            root = producer.Inputs[0]!;
        }

        mismatch = RootMismatch(root);
        if (mismatch is not null) return null;
        var tensor = root.Constant!;
        var type = tensor.Type;
        var layout = StridedShape.RowMajor(tensor.Shape);
        foreach (var node in Enumerable.Reverse(chain))
        {
            (layout, type, mismatch) = Step(node, layout, type);
            if (mismatch is not null) return null;
        }

        return new ConstantView(root, tensor, chain, type, layout);
    }

    private static Mismatch? RootMismatch(OnnxValue root)
    {
        if (root.Constant is not null) return null;
        if (root is { IsGraphInput: true, IsInitializer: true })
        {
            return Mismatch.LeftAlone($"weight '{root.Name}' is also a graph input, so a caller may replace it; it must be an initializer only");
        }

        return Mismatch.NotAWeight($"'{root.Name}' is computed at run time");
    }

    /// <summary>A node that a weight may stand behind.</summary>
    internal static bool IsView(OnnxNode node) =>
        node.Domain.Length == 0
        && node.Inputs is [not null, ..]
        && node.OpType is "Transpose" or "Cast" or "Identity" or "Reshape" or "Squeeze" or "Unsqueeze";

    private static (StridedShape Layout, ElementType Type, Mismatch? Mismatch) Step(OnnxNode node, StridedShape layout, ElementType type)
    {
        switch (node.OpType)
        {
            case "Cast":
                return (layout, (ElementType)node.GetInt("to", 0), null);
            case "Transpose":
                return (layout.Transpose(node.GetInts("perm")), type, null);
            case "Identity":
                return (layout, type, null);
        }

        var target = node.OpType switch
        {
            "Reshape" => ReshapeTarget(node, layout.Shape),
            "Squeeze" => SqueezeTarget(node, layout.Shape),
            _ => UnsqueezeTarget(node, layout.Shape),
        };
        return target is not null && layout.TryReshape(target, out var reshaped)
            ? (reshaped, type, null)
            : (layout, type, Mismatch.LeftAlone($"weight is behind {node.OpType} '{node.DisplayName()}', which rearranges it"));
    }

    private static long[]? ReshapeTarget(OnnxNode node, IReadOnlyList<long> shape)
    {
        if (node.GetInt("allowzero", 0) != 0 || node.Inputs.ElementAtOrDefault(1)?.Constant?.ReadInt64s() is not { } target) return null;
        var count = shape.Aggregate(1L, (product, dimension) => product * dimension);
        for (var i = 0; i < target.Length; i++)
        {
            if (target[i] == 0) target[i] = i < shape.Count ? shape[i] : 0;
        }

        var inferred = Array.IndexOf(target, -1);
        if (inferred >= 0)
        {
            var rest = target.Where((_, i) => i != inferred).Aggregate(1L, (product, dimension) => product * dimension);
            if (rest <= 0 || count % rest != 0) return null;
            target[inferred] = count / rest;
        }

        return target;
    }

    private static long[]? SqueezeTarget(OnnxNode node, IReadOnlyList<long> shape)
    {
        var axes = Axes(node, shape.Count);
        if (node.Inputs.ElementAtOrDefault(1) is null && axes is null) return [.. shape.Where(dimension => dimension != 1)];
        return axes is null ? null : [.. shape.Where((_, axis) => !axes.Contains(axis))];
    }

    private static long[]? UnsqueezeTarget(OnnxNode node, IReadOnlyList<long> shape)
    {
        var given = node.Inputs.ElementAtOrDefault(1)?.Constant?.ReadInt64s() ?? node.GetInts("axes");
        if (given is null) return null;
        var rank = shape.Count + given.Count;
        var axes = given.Select(axis => axis < 0 ? axis + rank : axis).ToHashSet();
        if (axes.Count != given.Count || axes.Any(axis => axis < 0 || axis >= rank)) return null;
        var next = 0;
        return [.. Enumerable.Range(0, rank).Select(axis => axes.Contains(axis) ? 1 : shape[next++])];
    }

    private static HashSet<long>? Axes(OnnxNode node, int rank) =>
        (node.Inputs.ElementAtOrDefault(1)?.Constant?.ReadInt64s() ?? node.GetInts("axes"))
        ?.Select(axis => axis < 0 ? axis + rank : axis).ToHashSet();
}
