using Google.Protobuf;
using Onnx;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Quantizers;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;

namespace OrtQuant.GraphRewriter.Planning.Allocation;

/// <summary>
/// A model with every planned weight in 8 bits, and graphs that differ from it in one weight each, which is coarse. Two files are written
/// once, fine and coarse; a variant is a graph alone that names data of both, so that trying a weight costs no more than opening a session.
/// </summary>
internal sealed class ProbeModels : IDisposable
{
    private const string Suffix = "@coarse";
    private const int FloatLevel = 1;

    private static readonly GroupParameters Fine = new(8, 32, ZeroPointKind.None);

    private readonly OutputFolder _folder;
    private readonly ModelProto _fine;
    private readonly ModelProto _coarse;
    private readonly ILookup<string, string> _nodes;

    /// <summary>Writes both files.</summary>
    /// <param name="model">The original; not changed.</param>
    /// <param name="plan">Which weights, and the transforms.</param>
    /// <param name="coarse">How a coarse weight is stored.</param>
    /// <param name="threads">Most threads to use; 0 for one per processor.</param>
    /// <param name="cancellation">Ends the work with an exception.</param>
    internal ProbeModels(OnnxModel model, QuantizationPlan plan, GroupParameters coarse, int threads, CancellationToken cancellation)
    {
        _folder = OutputFolder.Begin(Path.Combine(Path.GetTempPath(), $"ortquant-probe-{Guid.NewGuid():N}"));
        try
        {
            File = Path.Combine(_folder.Path, "fine.onnx");
            (_fine, _nodes) = Write(Fine, File);
            (_coarse, _) = Write(coarse, Path.Combine(_folder.Path, "coarse.onnx"));
        }
        catch
        {
            _folder.Dispose();
            throw;
        }

        (ModelProto, ILookup<string, string>) Write(GroupParameters parameters, string path)
        {
            var clone = model.Clone();
            var weights = plan.Weights.Select(weight => weight.Algorithm == PlannedWeight.Adopt
                ? weight
                : weight with { Scheme = GroupScheme.Instance.Name, Parameters = parameters, Algorithm = RoundToNearest.Instance.Name, AccuracyLevel = FloatLevel });
            var options = new RewriteOptions { Threads = threads, CancellationToken = cancellation };
            var probe = plan with { Weights = [.. weights], Emit = EmittedOps.OrtQuant };
            var applied = new PlanApplier(clone, probe, options).Apply(PackedWeights.Prepare(clone, probe, cancellation));
            var nodes = applied.Nodes.ToLookup(node => node.Encoding.Weight.Name, node => node.Node.Name);
            ModelWriter.Save(clone, path, new SaveOptions { Cancellation = cancellation });
            var proto = ModelProto.Parser.ParseFrom(System.IO.File.ReadAllBytes(path));

            // The kernels are at hand; bodies of two formats under one name would not go together.
            proto.Functions.Clear();
            foreach (var node in ProtoWalk.Nodes(proto.Graph)) node.Overload = "";
            return (proto, nodes);
        }
    }

    /// <summary>The file of the model whose weights are all fine.</summary>
    internal string File { get; }

    /// <summary>The fine model as a graph.</summary>
    internal byte[] Reference() => _fine.ToByteArray();

    /// <summary>The graph in which one weight is coarse.</summary>
    /// <param name="weight">Name of the weight as it is packed.</param>
    internal byte[] Variant(string weight)
    {
        var variant = _fine.Clone();
        var names = _nodes[weight].ToHashSet();
        var graphs = ProtoWalk.Graphs(variant).Zip(ProtoWalk.Graphs(_coarse)).ToList();
        var moved = new HashSet<string>();
        foreach (var (graph, coarse) in graphs)
        {
            for (var i = 0; i < graph.Node.Count; i++)
            {
                if (!names.Contains(graph.Node[i].Name)) continue;
                var node = coarse.Node[i].Clone();
                for (var input = 1; input < node.Input.Count; input++)
                {
                    if (node.Input[input].Length == 0 || !IsPacked(node.Input[input])) continue;
                    moved.Add(node.Input[input]);
                    node.Input[input] += Suffix;
                }

                if (IsPacked(node.Input[0]))
                {
                    moved.Add(node.Input[0]);
                    node.Input[0] += Suffix;
                }

                graph.Node[i] = node;
            }
        }

        foreach (var (graph, coarse) in graphs)
        {
            foreach (var tensor in coarse.Initializer.Where(tensor => moved.Contains(tensor.Name)))
            {
                var copy = tensor.Clone();
                copy.Name += Suffix;
                graph.Initializer.Add(copy);
            }
        }

        return variant.ToByteArray();

        // Codes, scales and zero points; what the node reads besides (activations, a bias) is the same in both.
        bool IsPacked(string input) => graphs.Any(pair => pair.Second.Initializer.Any(tensor => tensor.Name == input && !tensor.Name.EndsWith(".bias", StringComparison.Ordinal)));
    }

    /// <inheritdoc/>
    public void Dispose() => _folder.Dispose();
}
