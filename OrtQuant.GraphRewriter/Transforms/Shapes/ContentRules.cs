using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Transforms.Shapes;

/// <summary>Elements of small integer tensors that operators compute. Null is unknown.</summary>
internal static class ContentRules
{
    internal static Content? Apply(OnnxNode node, ShapeInference facts, IReadOnlyList<SymbolicSize>? shape)
    {
        if (node.Domain.Length > 0 || shape is null || shape.Count > 1 || Count(shape) is not { } count) return null;
        var result = node.OpType switch
        {
            "Shape" => OfShape(node, facts),
            "Size" => facts.Shape(node, 0) is { } counted ? new Content(ElementType.Int64, [ShapeRules.Product(counted)]) : null,
            "Identity" or "Unsqueeze" or "Squeeze" or "Reshape" => facts.ContentOf(node, 0),
            "Cast" => Cast(node, facts),
            "Gather" => Gather(node, facts),
            "Concat" => Concat(node, facts),
            "Slice" => Slice(node, facts),
            "ConstantOfShape" => ConstantOfShape(node, count),
            "Add" => Combine(node, facts, count, SymbolicSize.Add),
            "Sub" => Combine(node, facts, count, SymbolicSize.Subtract),
            "Mul" => Combine(node, facts, count, SymbolicSize.Multiply),
            "Div" => Combine(node, facts, count, SymbolicSize.Divide),
            "Equal" => Combine(node, facts, count, (a, b) => SymbolicSize.AreEqual(a, b) is { } equal ? SymbolicSize.Of(equal ? 1 : 0) : null, ElementType.Bool),
            "Where" => Where(node, facts, count),
            _ => null,
        };
        return result?.Elements.Count == count ? result : null;
    }

    private static int? Count(IReadOnlyList<SymbolicSize> shape) =>
        shape.Count == 0 ? 1 : shape[0].Value is { } length and <= Content.Most ? (int)length : null;

    private static Content? OfShape(OnnxNode node, ShapeInference facts)
    {
        if (facts.Shape(node, 0) is not { } shape) return null;
        var (start, end) = ShapeRules.Range(node, shape.Count);
        return new Content(ElementType.Int64, [.. shape.Skip(start).Take(end - start)]);
    }

    // A cast to a narrower type may cut a size off.
    private static Content? Cast(OnnxNode node, ShapeInference facts)
    {
        var to = (ElementType)node.GetInt("to", 0);
        if (!Content.CanHold(to) || facts.ContentOf(node, 0) is not { } content) return null;
        if (to == content.Type || (to == ElementType.Int64 && content.Type is ElementType.Int32 or ElementType.Bool)) return content with { Type = to };
        if (content.Numbers is not { } numbers) return null;
        if (to == ElementType.Bool) return new Content(to, [.. numbers.Select(number => SymbolicSize.Of(number == 0 ? 0 : 1))]);
        return numbers.All(number => number is >= int.MinValue and <= int.MaxValue) ? content with { Type = to } : null;
    }

    private static Content? Gather(OnnxNode node, ShapeInference facts)
    {
        if (node.GetInt("axis", 0) != 0 || facts.Shape(node, 0) is not { Count: 1 } || facts.ContentOf(node, 0) is not { } data) return null;
        if (facts.Numbers(node, 1) is not { } indices) return null;
        var places = indices.Select(index => ShapeRules.Axis(index, data.Elements.Count)).ToList();
        return places.Contains(null) ? null : data with { Elements = [.. places.Select(place => data.Elements[place!.Value])] };
    }

    private static Content? Concat(OnnxNode node, ShapeInference facts)
    {
        var parts = node.Inputs.Select((_, i) => facts.ContentOf(node, i)).ToList();
        return parts.Contains(null) || parts.Select(part => part!.Type).Distinct().Count() != 1
            ? null
            : new Content(parts[0]!.Type, [.. parts.SelectMany(part => part!.Elements)]);
    }

    private static Content? Slice(OnnxNode node, ShapeInference facts)
    {
        if (facts.ContentOf(node, 0) is not { } data || facts.Shape(node, 0) is not { Count: 1 }) return null;
        var start = node.GetInts("starts") ?? facts.Numbers(node, 1);
        var end = node.GetInts("ends") ?? facts.Numbers(node, 2);
        var step = node.Inputs.ElementAtOrDefault(4) is null ? [1] : facts.Numbers(node, 4);
        if (start is not [var first] || end is not [var last] || step is not [1]) return null;
        var count = data.Elements.Count;
        var from = (int)Math.Clamp(first < 0 ? first + count : first, 0, count);
        var to = (int)Math.Clamp(last < 0 ? last + count : last, 0, count);
        return data with { Elements = [.. data.Elements.Skip(from).Take(Math.Max(0, to - from))] };
    }

    private static Content? ConstantOfShape(OnnxNode node, int count)
    {
        if (node.Attribute("value")?.T is not { } proto || node.Graph.Model.Tensor(proto) is not { } tensor || Content.Of(tensor) is not { Elements: [var value] } content) return null;
        return content with { Elements = [.. Enumerable.Repeat(value, count)] };
    }

    private static Content? Combine(
        OnnxNode node, ShapeInference facts, int count, Func<SymbolicSize, SymbolicSize, SymbolicSize?> operation, ElementType? type = null)
    {
        if (facts.ContentOf(node, 0) is not { } a || facts.ContentOf(node, 1) is not { } b || a.Type != b.Type) return null;
        if (type is null && a.Type != ElementType.Int64) return null;
        if (!Fits(a, count) || !Fits(b, count)) return null;
        return new Content(type ?? a.Type, [.. Enumerable.Range(0, count).Select(i => At(a, i) is { } x && At(b, i) is { } y ? operation(x, y) : null)]);
    }

    private static Content? Where(OnnxNode node, ShapeInference facts, int count)
    {
        if (facts.ContentOf(node, 0) is not { } condition || facts.ContentOf(node, 1) is not { } a || facts.ContentOf(node, 2) is not { } b) return null;
        if (a.Type != b.Type || !Fits(condition, count) || !Fits(a, count) || !Fits(b, count)) return null;
        return new Content(a.Type, [.. Enumerable.Range(0, count).Select(i => At(condition, i)?.Value switch
        {
            null => null,
            0 => At(b, i),
            _ => At(a, i),
        })]);
    }

    private static bool Fits(Content content, int count) => content.Elements.Count == count || content.Elements.Count == 1;

    private static SymbolicSize? At(Content content, int index) => content.Elements[content.Elements.Count == 1 ? 0 : index];
}
