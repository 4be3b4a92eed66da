using System.Text.Json.Nodes;
using Onnx;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Matching;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Schemes.Smooth;

namespace OrtQuant.GraphRewriter.Transforms;

/// <summary>
/// The input of a linear is rotated while the model runs, and its weight once: <c>X . W^T = (X R) . (W R)^T</c> with R = H^T / sqrt(K) orthogonal. Exact up to
/// rounding; what a channel stood out by is spread over all, so that fewer bits hold the activations. Readers of X besides the linear keep X.
/// </summary>
/// <param name="Nodes">Names of the linears.</param>
public sealed record RotateInputs(IReadOnlyList<string> Nodes) : GraphTransform
{
    internal const string TransformName = "rotate-inputs";

    /// <inheritdoc/>
    public override string Name => TransformName;

    /// <inheritdoc/>
    public override string Summary => $"{string.Join(", ", Nodes)}: the input is rotated by a Hadamard transform, and the weight with it";

    internal static RotateInputs Read(JsonReader json)
    {
        var nodes = json.Strings("nodes");
        json.Finish();
        if (nodes.Count == 0) throw new PlanException($"{json.Path}.nodes is empty; it must name linears");
        return new RotateInputs(nodes);
    }

    internal override void WriteTo(JsonObject json) => json["nodes"] = new JsonArray([.. Nodes.Select(name => JsonValue.Create(name))]);

    internal override void Apply(OnnxModel model)
    {
        var linears = new Dictionary<string, LinearUse>();
        foreach (var use in WeightMatcher.Match(model).Weights.SelectMany(weight => weight.Linears)) linears.TryAdd(use.Node.DisplayName(), use);
        foreach (var name in Nodes)
        {
            var use = linears.GetValueOrDefault(name) ?? throw new PlanException($"{TransformName} names linear '{name}', which the model does not have");
            if (Obstacle(use) is { } obstacle) throw new PlanException($"{TransformName} cannot rotate the input of '{name}': {obstacle}");
            Rotate(use);
        }

        model.EnsureOpset(HadamardOp.Transform.Domain, HadamardOp.Transform.SinceVersion);
    }

    /// <summary>Why the input of a linear cannot be rotated, or null.</summary>
    internal static string? Obstacle(LinearUse use)
    {
        if (use.Node.OpType != "MatMul") return $"it is a {use.Node.OpType}; it must be a MatMul";
        if (use.Weight.Quantized is not null) return "its weight is quantized already";
        return Hadamard.Obstacle(use.Weight.Shape.K);
    }

    private static void Rotate(LinearUse use)
    {
        var (graph, node) = (use.Node.Graph, use.Node);
        var rotation = new NodeProto
        {
            OpType = HadamardOp.Transform.Name,
            Domain = HadamardOp.Transform.Domain,
            Name = graph.UniqueName($"{node.DisplayName()}/rotate"),
            Input = { use.X.Name },
            Output = { graph.UniqueName($"{use.X.Name}_rotated") },
        };
        rotation.Attribute.AddRange(HadamardOp.Attributes(use.Weight.Shape.K).Select(Rewriting.Nodes.Attribute));
        var rotated = graph.InsertBefore(node, rotation).Outputs[0]!;
        graph.Declare(rotated.Name, use.Weight.Type, null);

        // Stored by outputs, as the weight is read; MatMul takes its transpose.
        var weight = graph.AddInitializer(graph.UniqueName($"{use.Weight.Root.Name}_rotated"), new RotatedTensor(use.Weight.Open(), use.Weight.Type));
        var transpose = new NodeProto
        {
            OpType = "Transpose",
            Name = graph.UniqueName($"{node.DisplayName()}/weight"),
            Input = { weight.Name },
            Output = { graph.UniqueName($"{weight.Name}_transposed") },
        };
        transpose.Attribute.Add(Rewriting.Nodes.Attribute(Descriptions.OpAttributeValue.Ints("perm", 1, 0)));
        var unused = new UnusedValues();
        unused.Consider([node.Inputs[1]]);
        node.SetInput(0, rotated);
        node.SetInput(1, graph.InsertBefore(node, transpose).Outputs[0]!);
        unused.Remove();
    }

    /// <summary>Equality by content: two plans that say the same are equal.</summary>
    public bool Equals(RotateInputs? other) => other is not null && Nodes.SequenceEqual(other.Nodes);

    /// <inheritdoc/>
    public override int GetHashCode() => Nodes.Aggregate(0, HashCode.Combine);
}
