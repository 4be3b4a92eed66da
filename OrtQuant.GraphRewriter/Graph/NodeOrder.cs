using Onnx;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>Puts nodes in an order in which they can run. A file that is in order, as the specification demands, keeps its order.</summary>
internal static class NodeOrder
{
    /// <exception cref="ModelFormatException">Nodes depend on each other in a circle.</exception>
    internal static IReadOnlyList<NodeProto> Sort(IReadOnlyList<NodeProto> nodes, OnnxGraph graph)
    {
        var producer = new Dictionary<string, int>();
        for (var i = 0; i < nodes.Count; i++)
        {
            foreach (var output in nodes[i].Output.Where(output => output.Length > 0)) producer[output] = i;
        }

        var reads = nodes.Select(node => Reads(node, 0).Where(producer.ContainsKey).Select(name => producer[name]).ToHashSet()).ToArray();
        if (!reads.Where((read, index) => read.Any(other => other >= index)).Any()) return nodes;

        var readers = new List<int>[nodes.Count];
        for (var i = 0; i < nodes.Count; i++) readers[i] = [];
        var open = new int[nodes.Count];
        for (var i = 0; i < nodes.Count; i++)
        {
            open[i] = reads[i].Count;
            foreach (var other in reads[i]) readers[other].Add(i);
        }

        var ready = new PriorityQueue<int, int>(Enumerable.Range(0, nodes.Count).Where(i => open[i] == 0).Select(i => (i, i)));
        var sorted = new List<NodeProto>(nodes.Count);
        while (ready.TryDequeue(out var next, out _))
        {
            sorted.Add(nodes[next]);
            foreach (var reader in readers[next])
            {
                if (--open[reader] == 0) ready.Enqueue(reader, reader);
            }
        }

        if (sorted.Count == nodes.Count) return sorted;
        var stuck = nodes[Array.FindIndex(open, count => count > 0)];
        throw new ModelFormatException($"node '{(stuck.Name.Length > 0 ? stuck.Name : stuck.OpType)}' of graph '{graph.Proto.Name}' depends on its own output: the graph has a cycle");
    }

    /// <summary>What a node reads from the graph it is in, through its bodies too; names of inputs that are left out are empty.</summary>
    internal static IEnumerable<string> Reads(NodeProto node) => Reads(node, 0);

    /// <summary>What a node reads from the graph it is in, through its bodies too. A name that a body defines itself may be among them, which at worst keeps a file in order.</summary>
    private static IEnumerable<string> Reads(NodeProto node, int depth)
    {
        if (depth > OnnxModel.DeepestNesting) throw new ModelFormatException($"graphs are nested more than {OnnxModel.DeepestNesting} deep");
        foreach (var input in node.Input) yield return input;
        foreach (var body in ProtoWalk.Bodies(node))
        {
            var own = body.Node.SelectMany(inner => inner.Output).Concat(body.Input.Select(input => input.Name))
                .Concat(body.Initializer.Select(tensor => tensor.Name)).ToHashSet();
            foreach (var name in body.Node.SelectMany(inner => Reads(inner, depth + 1)).Concat(body.Output.Select(output => output.Name)))
            {
                if (!own.Contains(name)) yield return name;
            }
        }
    }
}
