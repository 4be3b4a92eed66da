using OrtQuant.Attention;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Transforms.Shapes;

namespace OrtQuant.GraphRewriter.Transforms.Attention;

/// <summary>A softmax that was left alone.</summary>
/// <param name="Node">The node.</param>
/// <param name="Reason">Why.</param>
internal sealed record UnfusedAttention(OnnxNode Node, string Reason);

/// <summary>Puts one operator in the place of each attention that <see cref="AttentionMatcher"/> finds.</summary>
internal sealed class AttentionFuser
{
    private readonly OnnxModel _model;
    private readonly ElementTypeInference _types;
    private readonly ShapeInference _facts;
    private readonly UnusedValues _unused = new();
    private readonly List<UnfusedAttention> _unfused = [];
    private int _fused;

    private AttentionFuser(OnnxModel model)
    {
        _model = model;
        _types = new ElementTypeInference(model);
        _facts = new ShapeInference(model);
    }

    /// <summary>Changes the model.</summary>
    /// <returns>How many attentions became an operator, and which did not.</returns>
    internal static (int Fused, IReadOnlyList<UnfusedAttention> Unfused) Run(OnnxModel model)
    {
        var fuser = new AttentionFuser(model);
        foreach (var graph in model.AllGraphs) fuser.Fuse(graph);
        fuser._unused.Remove();
        if (fuser._fused > 0) model.EnsureOpset(MaskedAttentionOp.Description.Domain, MaskedAttentionOp.Description.SinceVersion);
        return (fuser._fused, fuser._unfused);
    }

    private void Fuse(OnnxGraph graph)
    {
        var matcher = new AttentionMatcher(_facts);
        foreach (var softmax in graph.Nodes.Where(node => node is { OpType: "Softmax", Domain.Length: 0 }).ToList())
        {
            try
            {
                Replace(matcher.Match(softmax));
                _fused++;
            }
            catch (NoAttentionException reason)
            {
                _unfused.Add(new UnfusedAttention(softmax, reason.Message));
            }
        }
    }

    private void Replace(AttentionMatch match)
    {
        var graph = match.Softmax.Graph;
        if (match.Output.Producer!.Graph != graph || match.PresentKey.Graph != graph || match.PresentValue.Graph != graph) throw new NoAttentionException("it is spread over several graphs");
        foreach (var value in match.Inputs) CheckType(value, isMask: value == match.Mask);
        foreach (var value in new[] { match.Key, match.Value }) CheckSame(match.Query, value);
        CheckSame(match.PastKey, match.PastValue);
        CheckSame(match.PresentKey, match.PastKey);
        CheckSame(match.PresentValue, match.PastValue);
        var shapes = new[] { match.PresentKey, match.PresentValue }
            .SelectMany(present => present.Uses.Where(use => use.Node is { OpType: "Shape", Domain.Length: 0 }).Select(use => (use.Node, Present: present))).ToList();
        if (shapes.Exists(shape => shape.Node.Proto.Attribute.Count > 0)) throw new NoAttentionException("a part of the shape of the cache is read");
        CheckCycle(match, [.. shapes.Select(shape => shape.Node)]);

        foreach (var (shape, present) in shapes) SizesWithout(match, shape, present == match.PresentKey ? match.PastKey : match.PastValue);
        OnnxValue[] outputs = [match.Output, match.PresentKey, match.PresentValue];
        var replaced = outputs.Select(output => output.Producer!).ToList();
        var last = graph.Nodes.ToList().FindLastIndex(node => replaced.Contains(node) || match.Inputs.Any(input => input.Producer == node));
        var position = graph.Nodes[last];
        for (var i = 0; i < replaced.Count; i++)
        {
            // The old node goes on under another name until nothing reads it.
            var old = graph.AddValue(_model.UniqueName($"{outputs[i].Name}_unfused"));
            replaced[i].TakeOutput(0, old);
            _unused.Consider([old]);
        }

        foreach (var input in match.Inputs.Where(input => input.Type is null)) input.Graph.Declare(input.Name, _types.Of(input), null);
        // The operator gives what the query is; a cast behind it is none once all activations are float32.
        var sameType = _types.Of(match.Output) == _types.Of(match.Query);
        var y = sameType ? match.Output.Name : _model.UniqueName($"{match.Output.Name}_attention");
        var proto = Nodes.Create(
            MaskedAttentionOp.Description.Domain,
            MaskedAttentionOp.Description.Name,
            $"{match.Softmax.DisplayName()}/Attention",
            match.Inputs.Select(input => input.Name),
            [y, match.PresentKey.Name, match.PresentValue.Name],
            MaskedAttentionOp.NodeAttributes(match.Heads, match.CachedHeads, match.HeadSize, match.RotarySize, match.Scale));
        var node = graph.InsertAfter(position, proto);
        if (!sameType) graph.InsertAfter(node, Nodes.Create("", "Cast", $"{match.Output.Name}/Cast", [y], [match.Output.Name], OpAttributeValue.Int("to", (long)_types.Of(match.Output))));
    }

    private void CheckType(OnnxValue value, bool isMask)
    {
        var type = _types.Of(value);
        if (type is ElementType.Float32 or ElementType.Float16 || (isMask && type == ElementType.Bool)) return;
        throw new NoAttentionException($"'{value.Name}' is {type}; it must be {(isMask ? "bool, " : "")}float32 or float16");
    }

    private void CheckSame(OnnxValue a, OnnxValue b)
    {
        if (_types.Of(a) != _types.Of(b)) throw new NoAttentionException($"'{a.Name}' is {_types.Of(a)} and '{b.Name}' {_types.Of(b)}");
    }

    /// <summary>The operator may read nothing that follows from what it computes, but for sizes, which are known otherwise.</summary>
    private static void CheckCycle(AttentionMatch match, HashSet<OnnxNode> known)
    {
        var seen = new HashSet<OnnxNode>();
        var open = new Queue<OnnxValue>(match.Inputs);
        while (open.TryDequeue(out var value))
        {
            if (value == match.PresentKey || value == match.PresentValue || value == match.Output) throw new NoAttentionException($"mask, angles or activations follow from '{value.Name}'");
            if (value.Producer is not { } node || known.Contains(node) || !seen.Add(node)) continue;
            foreach (var input in node.Inputs.OfType<OnnxValue>()) open.Enqueue(input);
        }
    }

    /// <summary>The shape of a cache that has grown, from that of its past and the number of tokens.</summary>
    private void SizesWithout(AttentionMatch match, OnnxNode shape, OnnxValue past)
    {
        var graph = shape.Graph;
        var name = shape.DisplayName();
        var nodes = new NodeSequence(graph, [shape], []);
        var before = nodes.Add("Shape", $"{name}/past", [past.Name], null);
        var sizes = nodes.Add("Shape", $"{name}/activations", [match.Query.Name], null);
        var tokens = nodes.Add("Gather", $"{name}/tokens", [sizes, Constant(graph, $"{name}/one", 1)], null, OpAttributeValue.Int("axis", 0));
        var zeros = Constant(graph, $"{name}/zeros", 0, 0);
        var zero = Constant(graph, $"{name}/zero", 0);
        var growth = nodes.Add("Concat", $"{name}/growth", [zeros, tokens, zero], null, OpAttributeValue.Int("axis", 0));
        var sum = nodes.Add("Add", $"{name}/grown", [before, growth], null);
        graph.ReplaceAllUses(shape.Outputs[0]!, graph.Find(sum)!);
        _unused.Consider([shape.Outputs[0]]);
    }

    private static string Constant(OnnxGraph graph, string name, params long[] values) =>
        graph.AddInitializer(graph.UniqueName(name), LazyTensor.FromInt64s([values.Length], values)).Name;
}
