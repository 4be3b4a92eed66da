using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Adapters;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Matching;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Rewriting;

namespace OrtQuant.GraphRewriter.Transforms;

/// <summary>
/// A LoRA adapter is added to the weights it was trained for, <c>W + scale * B A</c>, while they are read: exact in float32, before anything is quantized.
/// A weight that something else reads as well (an embedding tied to the head) is changed for the adapter's layer only.
/// </summary>
/// <param name="Folder">Folder of the adapter.</param>
public sealed record MergeAdapter(string Folder) : GraphTransform
{
    internal const string TransformName = "merge-adapter";

    /// <inheritdoc/>
    public override string Name => TransformName;

    /// <inheritdoc/>
    public override string Summary => $"LoRA adapter {Folder} is added to the weights";

    internal static MergeAdapter Read(JsonReader json)
    {
        var transform = new MergeAdapter(json.String("adapter"));
        json.Finish();
        return transform;
    }

    internal override void WriteTo(JsonObject json) => json["adapter"] = Folder;

    internal override void Apply(OnnxModel model)
    {
        var adapter = LoraAdapter.Open(Folder);
        model.Own(adapter);
        foreach (var targets in AdapterTargets.Find(adapter.Modules, WeightMatcher.Match(model).Weights).GroupBy(target => target.Weight.Matrix.Root))
        {
            Merge(targets.Key, [.. targets]);
        }
    }

    private static void Merge(OnnxValue root, IReadOnlyList<AdapterTarget> targets)
    {
        var tensor = root.Constant!;
        foreach (var target in targets)
        {
            var matrix = target.Weight.Matrix;
            if (matrix.Quantized is not null)
            {
                throw new AdapterException($"weight '{target.Weight.Name}' is quantized already, and its codes cannot take a LoRA adapter; keep it beside them (--adapter-mode low-rank)");
            }

            tensor = new AdaptedTensor(tensor, matrix.StoredTransposed, target.Change(matrix.Scale));
        }

        var nodes = targets.SelectMany(target => target.Linears).Select(linear => linear.Node).ToHashSet();
        if (root.IsInitializer && Readers(root).All(nodes.Contains))
        {
            root.Graph.ReplaceInitializer(root, tensor);
            return;
        }

        var copy = root.Graph.AddInitializer(root.Graph.UniqueName($"{root.Name}_adapted"), tensor);
        var unused = new UnusedValues();
        foreach (var node in nodes)
        {
            unused.Consider([node.Inputs[1]]);
            node.SetInput(1, Chained(copy, node));
        }

        unused.Remove();
    }

    /// <summary>The copy behind nodes like those that the reader has before the original.</summary>
    private static OnnxValue Chained(OnnxValue copy, OnnxNode reader)
    {
        var value = copy;
        foreach (var link in ConstantView.Trace(reader.Inputs[1]!, out _)!.Chain.Reverse())
        {
            var proto = link.Proto.Clone();
            proto.Name = reader.Graph.UniqueName($"{link.DisplayName()}_adapted");
            proto.Input[0] = value.Name;
            proto.Output[0] = reader.Graph.UniqueName($"{link.Outputs[0]!.Name}_adapted");
            value = reader.Graph.InsertBefore(reader, proto).Outputs[0]!;
        }

        return value;
    }

    private static IEnumerable<OnnxNode> Readers(OnnxValue value) => value.Uses.SelectMany(use =>
        use.Index == 0 && ConstantView.IsView(use.Node) && use.Node.Outputs is [{ IsGraphOutput: false } output] ? Readers(output) : [use.Node]);
}
