namespace OrtQuant.GraphRewriter.Graph;

/// <summary>No value of a graph may depend on itself.</summary>
internal static class CycleCheck
{
    /// <exception cref="ModelFormatException">The graph has a cycle; the message names a node on it.</exception>
    public static void Run(OnnxGraph graph)
    {
        // Exporters write nodes in order; then there is nothing to look for.
        var position = new Dictionary<OnnxNode, int>(graph.Nodes.Count);
        foreach (var node in graph.Nodes) position[node] = position.Count;
        var sorted = true;
        var waitsFor = new int[graph.Nodes.Count];
        foreach (var node in graph.Nodes)
        {
            foreach (var reader in Readers(node))
            {
                waitsFor[position[reader]]++;
                sorted &= position[node] < position[reader];
            }
        }

        if (sorted) return;
        var ready = new Queue<OnnxNode>(graph.Nodes.Where(node => waitsFor[position[node]] == 0));
        var done = 0;
        while (ready.TryDequeue(out var node))
        {
            done++;
            foreach (var reader in Readers(node))
            {
                if (--waitsFor[position[reader]] == 0) ready.Enqueue(reader);
            }
        }

        if (done == graph.Nodes.Count) return;
        throw new ModelFormatException($"graph '{graph.Proto.Name}' has a cycle: {OnCycle()} depends on its own output");

        IEnumerable<OnnxNode> Readers(OnnxNode node) =>
            node.Outputs.SelectMany(output => output?.Uses ?? []).Select(use => Ancestor(use.Node, graph));

        // Every node that is left waits for one that is left: going back from one to the next ends on a cycle.
        OnnxNode OnCycle()
        {
            var waiting = graph.Nodes.Where(node => waitsFor[position[node]] > 0).ToHashSet();
            var before = new Dictionary<OnnxNode, OnnxNode>();
            foreach (var node in waiting)
            {
                foreach (var reader in Readers(node)) before[reader] = node;
            }

            var seen = new HashSet<OnnxNode>();
            var at = waiting.First();
            while (seen.Add(at)) at = before[at];
            return at;
        }
    }

    /// <summary>The node of the graph that holds a node, itself or in its inner graphs.</summary>
    private static OnnxNode Ancestor(OnnxNode node, OnnxGraph graph)
    {
        while (node.Graph != graph) node = node.Graph.OwnerNode!;
        return node;
    }
}
