using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Transforms.Attention;
using OrtQuant.GraphRewriter.Transforms.Shapes;

namespace OrtQuant.GraphRewriter.Transforms.Norms;

/// <summary>
/// Puts ONNX Runtime's <c>SimplifiedLayerNormalization</c> in the place of RMS norms that are written out, and <c>SkipSimplifiedLayerNormalization</c> where the sum of two
/// activations is normalized.
/// </summary>
internal sealed class NormFuser
{
    private readonly OnnxModel _model;
    private readonly ElementTypeInference _types;
    private readonly ShapeInference _facts;
    private readonly UnusedValues _unused = new();

    private NormFuser(OnnxModel model)
    {
        _model = model;
        _types = new ElementTypeInference(model);
        _facts = new ShapeInference(model);
    }

    /// <summary>An RMS norm: <c>scale * x / sqrt(mean(x^2) + epsilon)</c>.</summary>
    private sealed record Norm(OnnxNode Last, OnnxValue X, OnnxValue Scale, float Epsilon);

    /// <summary>Whether there is any norm to fuse once all activations are of one type.</summary>
    internal static bool IsNeeded(OnnxModel model) => new NormFuser(model).Find(model.Graph, anyType: true).Any();

    /// <summary>Changes the model.</summary>
    internal static void Run(OnnxModel model)
    {
        var fuser = new NormFuser(model);
        foreach (var graph in model.AllGraphs)
        {
            foreach (var norm in fuser.Find(graph, anyType: false).ToList()) fuser.Replace(norm);
        }

        fuser._unused.Remove();
    }

    private IEnumerable<Norm> Find(OnnxGraph graph, bool anyType) =>
        graph.Nodes.Where(node => node is { OpType: "Mul", Domain.Length: 0 }).Select(node => Match(node, anyType)).OfType<Norm>();

    private Norm? Match(OnnxNode last, bool anyType)
    {
        if (last is not { Inputs: [{ } a, { } b], Outputs: [{ } y] }) return null;
        var (given, normed) = IsScale(a) ? (a, b) : (b, a);
        var scale = Stored(given);
        if (!IsScale(scale) || Normalized(AttentionMatcher.Plain(normed)) is not { } found) return null;
        var (x, epsilon) = found;

        // The activations as the norm is given them: a cast before it is part of the norm.
        if (!anyType && (_types.Of(x) != _types.Of(y) || _types.Of(x) != scale.Type))
        {
            x = AttentionMatcher.Plain(x);
            if (_types.Of(x) != _types.Of(y) || _types.Of(x) != scale.Type || _types.Of(x) is not (ElementType.Float32 or ElementType.Float16)) return null;
        }

        return new Norm(last, x, scale, epsilon);
    }

    private static bool IsScale(OnnxValue value) => Stored(value).Constant is { Shape.Count: 1 } tensor && tensor.Type.IsFloat();

    /// <summary>The constant that equal norms share through an Identity.</summary>
    private static OnnxValue Stored(OnnxValue value)
    {
        while (value.Producer is { OpType: "Identity", Domain.Length: 0, Inputs: [{ } input] }) value = input;
        return value;
    }

    /// <summary>x / sqrt(mean(x^2) + epsilon), however it is written.</summary>
    private (OnnxValue X, float Epsilon)? Normalized(OnnxValue value)
    {
        if (value.Producer is not { Domain.Length: 0, Inputs: [{ } first, { } second] } node) return null;
        return node.OpType switch
        {
            "Div" => Root(second) is { } root && root.X == first ? root : null,
            "Mul" => Inverse(second) is { } inverse && inverse.X == first ? inverse : Inverse(first) is { } swapped && swapped.X == second ? swapped : null,
            _ => null,
        };
    }

    private (OnnxValue X, float Epsilon)? Inverse(OnnxValue value) => value.Producer switch
    {
        { OpType: "Div", Domain.Length: 0, Inputs: [{ } one, { } root] } when Scalar(one) is 1 => Root(root),
        { OpType: "Reciprocal", Domain.Length: 0, Inputs: [{ } root] } => Root(root),
        _ => null,
    };

    private (OnnxValue X, float Epsilon)? Root(OnnxValue value)
    {
        if (value.Producer is not { OpType: "Sqrt", Domain.Length: 0, Inputs: [{ Producer: { OpType: "Add", Domain.Length: 0, Inputs: [{ } a, { } b] } }] }) return null;
        var (mean, epsilon) = Scalar(b) is { } second ? (a, second) : (b, Scalar(a) ?? -1);
        if (epsilon < 0 || mean.Producer is not { OpType: "ReduceMean", Domain.Length: 0, Inputs: [{ Producer: { } square }, ..] } reduce) return null;
        if (reduce.GetInt("keepdims", 1) != 1 || _facts.Axes(reduce, 1) is not [var axis]) return null;
        if (axis != -1 && axis != _facts.Shape(reduce, 0)?.Count - 1) return null;
        return square switch
        {
            { OpType: "Pow", Domain.Length: 0, Inputs: [{ } x, { } two] } when Scalar(two) is 2 => (x, epsilon),
            { OpType: "Mul", Domain.Length: 0, Inputs: [{ } x, { } same] } when x == same => (x, epsilon),
            _ => null,
        };
    }

    private static float? Scalar(OnnxValue value)
    {
        if (value.Constant is not { Count: 1, Type: ElementType.Float32 or ElementType.Float16 } tensor) return null;
        var element = new float[1];
        FloatBytes.Decode(tensor.Type, tensor.ReadBytes(), element);
        return element[0];
    }

    private void Replace(Norm norm)
    {
        var (last, x, scale, epsilon) = norm;
        var y = last.Outputs[0]!;
        var graph = last.Graph;
        var epsilonValue = OpAttributeValue.Float("epsilon", epsilon);
        var sum = x.Producer is { OpType: "Add", Domain.Length: 0 } add && IsPlainSum(add) && add.Graph == graph ? add : null;
        var place = sum ?? last;
        var old = graph.AddValue(_model.UniqueName($"{y.Name}_unfused"));
        last.TakeOutput(0, old);
        if (sum is null)
        {
            graph.InsertBefore(place, Nodes.Create("", "SimplifiedLayerNormalization", last.DisplayName(), [x.Name, scale.Name], [y.Name], OpAttributeValue.Int("axis", -1), epsilonValue, OpAttributeValue.Int("stash_type", 1)));
        }
        else
        {
            var oldSum = graph.AddValue(_model.UniqueName($"{x.Name}_unfused"));
            sum.TakeOutput(0, oldSum);
            var inputs = sum.Inputs.Select(input => input!.Name).Append(scale.Name);
            graph.InsertBefore(place, Nodes.Create("com.microsoft", "SkipSimplifiedLayerNormalization", last.DisplayName(), inputs, [y.Name, "", "", x.Name], epsilonValue));
            _model.EnsureOpset("com.microsoft", 1);
            _unused.Consider([oldSum]);
        }

        _unused.Consider([old]);
    }

    /// <summary>Two activations [batch, tokens, K] of the same shape, neither a constant.</summary>
    private bool IsPlainSum(OnnxNode add) =>
        add.Inputs is [{ Constant: null } a, { Constant: null } b]
        && _facts.Of(a).Shape is { Count: 3 } first && _facts.Of(b).Shape is { Count: 3 } second && first.SequenceEqual(second);
}
