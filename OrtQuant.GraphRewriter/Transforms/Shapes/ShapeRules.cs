using OrtQuant.GraphRewriter.Graph;
using Sizes = System.Collections.Generic.IReadOnlyList<OrtQuant.GraphRewriter.Transforms.Shapes.SymbolicSize>;

namespace OrtQuant.GraphRewriter.Transforms.Shapes;

/// <summary>Shapes of operators' outputs from those of their inputs. Null is unknown.</summary>
internal static class ShapeRules
{
    private static readonly HashSet<string> AsFirstInput =
    [
        "Abs", "Cast", "Ceil", "Clip", "Cos", "CumSum", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN",
        "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "Mish", "Neg", "Not", "Reciprocal", "Relu", "RMSNormalization", "Round", "ScatterElements",
        "ScatterND", "Sigmoid", "Sign", "SimplifiedLayerNormalization", "Sin", "Softmax", "Softplus", "Sqrt", "Tanh", "Trilu",
        "com.microsoft:BiasGelu", "com.microsoft:FastGelu", "com.microsoft:Gelu", "com.microsoft:QuickGelu",
    ];

    private static readonly HashSet<string> Elementwise =
    [
        "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum",
        "Where", "Xor",
    ];

    private static readonly HashSet<string> Reductions =
        ["ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"];

    /// <summary>A shape for each output that has a known one.</summary>
    internal static IReadOnlyList<Sizes?>? Apply(OnnxNode node, ShapeInference facts)
    {
        var op = node.Domain.Length == 0 ? node.OpType : $"{node.Domain}:{node.OpType}";
        if (AsFirstInput.Contains(op)) return [facts.Shape(node, 0)];
        if (Elementwise.Contains(op)) return [Broadcast(node, facts)];
        if (Reductions.Contains(op)) return [Reduce(node, facts)];
        if (op == "Split") return Split(node, facts);
        if (op == "ortquant:MaskedAttention") return MaskedAttention(node, facts);
        var shape = op switch
        {
            "MatMul" => MatMul(facts.Shape(node, 0), facts.Shape(node, 1), facts),
            "Gemm" => Gemm(node, facts),
            "Transpose" => Transpose(node, facts),
            "Reshape" => Reshape(node, facts),
            "Concat" => Concat(node, facts),
            "Slice" => Slice(node, facts),
            "Gather" => Gather(node, facts),
            "GatherElements" => facts.Shape(node, 1),
            "Squeeze" => Squeeze(node, facts),
            "Unsqueeze" => Unsqueeze(node, facts),
            "Expand" => facts.Shape(node, 0) is { } given && Target(node, facts, 1) is { } target ? facts.Broadcast(given, target) : null,
            "ConstantOfShape" => Target(node, facts, 0),
            "Shape" => ShapeOfShape(node, facts),
            "Size" => [],
            "Range" => [facts.NewSize()],
            "com.microsoft:MatMulNBits" or "ortquant:MatMulNBits" => WithLast(facts.Shape(node, 0), SymbolicSize.Of(node.GetInt("N", 0))),
            "ortquant:GatherNBits" => facts.Shape(node, 0) is { } indices ? [.. indices, SymbolicSize.Of(node.GetInt("K", 0))] : null,
            "com.microsoft:SkipSimplifiedLayerNormalization" or "com.microsoft:SkipLayerNormalization" => facts.Shape(node, 0),
            _ => null,
        };
        return op.StartsWith("com.microsoft:Skip", StringComparison.Ordinal) ? [shape, null, null, shape] : [shape];
    }

    private static IReadOnlyList<Sizes?> MaskedAttention(OnnxNode node, ShapeInference facts)
    {
        var tokens = facts.Shape(node, 0)?[1];
        return [facts.Shape(node, 0), Grown(facts.Shape(node, 3)), Grown(facts.Shape(node, 4))];

        Sizes? Grown(Sizes? past) => past is null || tokens is null || SymbolicSize.Add(past[2], tokens) is not { } grown ? null : [past[0], past[1], grown, past[3]];
    }

    /// <summary>An axis counted from the front; null where it is none.</summary>
    internal static int? Axis(long axis, int rank)
    {
        var counted = axis < 0 ? axis + rank : axis;
        return counted >= 0 && counted < rank ? (int)counted : null;
    }

    private static Sizes? Broadcast(OnnxNode node, ShapeInference facts)
    {
        Sizes? result = [];
        for (var i = 0; i < node.Inputs.Count && result is not null; i++)
        {
            result = facts.Shape(node, i) is { } shape ? facts.Broadcast(result, shape) : null;
        }

        return result;
    }

    private static Sizes? Reduce(OnnxNode node, ShapeInference facts)
    {
        if (facts.Shape(node, 0) is not { } shape) return null;
        var keep = node.GetInt("keepdims", 1) != 0;
        var axes = facts.Axes(node, 1);
        if (axes is null && node.Inputs.ElementAtOrDefault(1) is not null) return null;
        if (axes is null or { Count: 0 })
        {
            if (node.GetInt("noop_with_empty_axes", 0) != 0) return shape;
            return keep ? [.. shape.Select(_ => SymbolicSize.One)] : [];
        }

        var reduced = axes.Select(axis => Axis(axis, shape.Count)).ToHashSet();
        return reduced.Contains(null) ? null
            : keep ? [.. shape.Select((size, axis) => reduced.Contains(axis) ? SymbolicSize.One : size)]
            : [.. shape.Where((_, axis) => !reduced.Contains(axis))];
    }

    private static Sizes?[]? Split(OnnxNode node, ShapeInference facts)
    {
        if (facts.Shape(node, 0) is not { } shape || Axis(node.GetInt("axis", 0), shape.Count) is not { } at) return null;
        var sizes = node.GetInts("split") ?? facts.Numbers(node, 1);
        if (sizes is null && (node.Inputs.ElementAtOrDefault(1) is not null || shape[at].Value is not { } whole || whole % node.Outputs.Count != 0)) return null;
        return [.. node.Outputs.Select((_, i) => With(shape, at, SymbolicSize.Of(sizes is null ? shape[at].Value!.Value / node.Outputs.Count : sizes.ElementAtOrDefault(i))))];
    }

    private static Sizes? MatMul(Sizes? a, Sizes? b, ShapeInference facts) =>
        a is { Count: >= 2 } && b is { Count: >= 2 }
            ? [.. facts.Broadcast([.. a.SkipLast(2)], [.. b.SkipLast(2)]), a[^2], b[^1]]
            : null;

    private static Sizes? Gemm(OnnxNode node, ShapeInference facts) =>
        facts.Shape(node, 0) is { Count: 2 } a && facts.Shape(node, 1) is { Count: 2 } b
            ? [a[node.GetInt("transA", 0) != 0 ? 1 : 0], b[node.GetInt("transB", 0) != 0 ? 0 : 1]]
            : null;

    private static Sizes? Transpose(OnnxNode node, ShapeInference facts)
    {
        if (facts.Shape(node, 0) is not { } shape) return null;
        if (node.GetInts("perm") is not { } order) return [.. shape.Reverse()];
        return order.Count == shape.Count && order.All(axis => Axis(axis, shape.Count) == axis) ? [.. order.Select(axis => shape[(int)axis])] : null;
    }

    /// <summary>The dimensions that an input says; a number below 0 is none.</summary>
    private static Sizes? Target(OnnxNode node, ShapeInference facts, int input) =>
        facts.ContentOf(node, input) is { } content && content.Elements.All(size => size is { IsSurelyNotNegative: true }) ? [.. content.Elements.Select(size => size!)] : null;

    private static Sizes? Reshape(OnnxNode node, ShapeInference facts)
    {
        if (facts.ContentOf(node, 1) is not { } target) return null;
        var shape = facts.Shape(node, 0);
        var sizes = new SymbolicSize?[target.Elements.Count];
        var inferred = -1;
        for (var i = 0; i < sizes.Length; i++)
        {
            var wanted = target.Elements[i];
            if (wanted?.Value == -1) inferred = i;
            else if (wanted?.Value == 0 && node.GetInt("allowzero", 0) == 0) sizes[i] = shape is not null && i < shape.Count ? shape[i] : facts.NewSize();
            else sizes[i] = wanted is { IsSurelyNotNegative: true } ? wanted : facts.NewSize();
        }

        if (inferred >= 0) sizes[inferred] = shape is null ? facts.NewSize() : Rest(shape, [.. sizes.Where((_, i) => i != inferred).Select(size => size!)]) ?? facts.NewSize();
        return [.. sizes.Select(size => size!)];
    }

    /// <summary>What is left of a shape's elements when the other dimensions are these.</summary>
    private static SymbolicSize? Rest(Sizes shape, Sizes others)
    {
        var (count, rest) = (Product(shape), Product(others));
        return count is null || rest is null ? null : SymbolicSize.Divide(count, rest);
    }

    internal static SymbolicSize? Product(Sizes sizes) =>
        sizes.Aggregate((SymbolicSize?)SymbolicSize.One, (product, size) => product is null ? null : SymbolicSize.Multiply(product, size));

    private static Sizes? Concat(OnnxNode node, ShapeInference facts)
    {
        var shapes = node.Inputs.Select((_, i) => facts.Shape(node, i)).ToList();
        if (shapes.Count == 0 || shapes.Any(shape => shape is null || shape.Count != shapes[0]!.Count)) return null;
        if (Axis(node.GetInt("axis", 0), shapes[0]!.Count) is not { } at) return null;
        var sum = shapes.Aggregate((SymbolicSize?)SymbolicSize.Of(0), (total, shape) => total is null ? null : SymbolicSize.Add(total, shape![at]));

        // Along the others ONNX Runtime demands that all are equal: any of them will do, a number best.
        return [.. Enumerable.Range(0, shapes[0]!.Count).Select(axis => axis == at
            ? sum ?? facts.NewSize()
            : shapes.Select(shape => shape![axis]).FirstOrDefault(size => size.Value is not null) ?? shapes[^1]![axis])];
    }

    private static Sizes? Slice(OnnxNode node, ShapeInference facts)
    {
        if (facts.Shape(node, 0) is not { } shape) return null;
        var starts = node.GetInts("starts") is { } first ? [.. first.Select(SymbolicSize.Of)] : facts.ContentOf(node, 1)?.Elements;
        var ends = node.GetInts("ends") is { } last ? [.. last.Select(SymbolicSize.Of)] : facts.ContentOf(node, 2)?.Elements;
        var axes = node.GetInts("axes") ?? facts.Numbers(node, 3) ?? (node.Inputs.ElementAtOrDefault(3) is null ? [.. Enumerable.Range(0, starts?.Count ?? 0).Select(axis => (long)axis)] : null);
        var steps = facts.Numbers(node, 4);
        if (axes is null || (steps is null && node.Inputs.ElementAtOrDefault(4) is not null)) return null;
        var result = shape.ToArray();
        for (var i = 0; i < axes.Count; i++)
        {
            if (Axis(axes[i], shape.Count) is not { } at) return null;
            result[at] = steps is null || steps[i] == 1 ? Cut(shape[at], starts?.ElementAtOrDefault(i), ends?.ElementAtOrDefault(i)) ?? facts.NewSize() : facts.NewSize();
        }

        return result;
    }

    /// <summary>Elements from start to end of so many; null where that is not known.</summary>
    private static SymbolicSize? Cut(SymbolicSize size, SymbolicSize? start, SymbolicSize? end)
    {
        if (start is null || end is null) return null;
        if (size.Value is { } whole && start.Value is { } first && end.Value is { } last)
        {
            return SymbolicSize.Of(Math.Max(0, Clamp(last, whole) - Clamp(first, whole)));
        }

        return start.Value == 0 && (end.Equals(size) || end.Value == long.MaxValue) ? size : null;
    }

    private static long Clamp(long index, long size) => Math.Clamp(index < 0 ? index + size : index, 0, size);

    private static Sizes? Gather(OnnxNode node, ShapeInference facts) =>
        facts.Shape(node, 0) is { } data && facts.Shape(node, 1) is { } indices && Axis(node.GetInt("axis", 0), data.Count) is { } at
            ? [.. data.Take(at), .. indices, .. data.Skip(at + 1)]
            : null;

    private static Sizes? Squeeze(OnnxNode node, ShapeInference facts)
    {
        if (facts.Shape(node, 0) is not { } shape || facts.Axes(node, 1) is not { } axes) return null;
        var dropped = axes.Select(axis => Axis(axis, shape.Count)).ToHashSet();
        return dropped.Contains(null) ? null : [.. shape.Where((_, axis) => !dropped.Contains(axis))];
    }

    private static Sizes? Unsqueeze(OnnxNode node, ShapeInference facts)
    {
        if (facts.Shape(node, 0) is not { } shape || facts.Axes(node, 1) is not { } axes) return null;
        var rank = shape.Count + axes.Count;
        var added = axes.Select(axis => Axis(axis, rank)).ToHashSet();
        if (added.Contains(null) || added.Count != axes.Count) return null;
        var next = 0;
        return [.. Enumerable.Range(0, rank).Select(axis => added.Contains(axis) ? SymbolicSize.One : shape[next++])];
    }

    private static Sizes? ShapeOfShape(OnnxNode node, ShapeInference facts)
    {
        if (facts.Shape(node, 0) is not { } shape) return null;
        var (start, end) = Range(node, shape.Count);
        return [SymbolicSize.Of(Math.Max(0, end - start))];
    }

    /// <summary>The part of a shape that a Shape node takes.</summary>
    internal static (int Start, int End) Range(OnnxNode node, int rank) =>
        ((int)Clamp(node.GetInt("start", 0), rank), (int)Clamp(node.GetInt("end", rank), rank));

    private static Sizes? WithLast(Sizes? shape, SymbolicSize last) => shape is { Count: > 0 } ? With(shape, shape.Count - 1, last) : null;

    private static SymbolicSize[] With(Sizes shape, int axis, SymbolicSize size)
    {
        var result = shape.ToArray();
        result[axis] = size;
        return result;
    }
}
