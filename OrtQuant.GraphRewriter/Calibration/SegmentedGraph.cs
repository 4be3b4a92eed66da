using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Calibration;

/// <summary>A part of a graph that is run by itself.</summary>
/// <param name="Carried">Values that are alive where it ends: what later segments are given.</param>
/// <param name="Inputs">The inputs of linears that it computes.</param>
/// <param name="Cost">Weights that it multiplies by: a measure of its time.</param>
internal sealed record Segment(IReadOnlyList<string> Carried, IReadOnlyList<CalibratedInput> Inputs, long Cost);

/// <summary>
/// The main graph of a model cut at positions of its topological order. What is alive across a cut is handed on; what follows from the graph's
/// inputs by small constants alone (masks, positions, rotary tables), or from constants alone, is computed again where it is needed.
/// No pattern of a block is looked for: in a transformer the fewest values are alive on the residual stream, so that is where cuts fall.
/// </summary>
internal sealed class SegmentedGraph
{
    // A node that reads a larger constant is no small computation to do again.
    private const long LightConstantBytes = 64 << 10;

    private readonly OnnxGraph _graph;
    private readonly IReadOnlyList<CalibratedInput> _inputs;
    private readonly IReadOnlyDictionary<string, long> _packed;
    private readonly List<OnnxNode> _order;
    private readonly Dictionary<string, int> _position = [];
    private readonly Dictionary<string, int> _lastUse = [];
    private readonly HashSet<string> _recomputed = [];
    private readonly Dictionary<CalibratedInput, int> _firstConsumer = [];

    /// <summary>Looks at a graph.</summary>
    /// <param name="graph">The main graph of the model as its weights were found in it, before anything is packed.</param>
    /// <param name="inputs">The values to gather statistics of.</param>
    /// <param name="packed">For each result of a node that reads a packed weight, linear or table, the size of the weight: such nodes are never run twice.</param>
    /// <param name="together">For the raw result of a linear node, the result of the Add of its bias: no cut falls between the two.</param>
    internal SegmentedGraph(
        OnnxGraph graph, IReadOnlyList<CalibratedInput> inputs, IReadOnlyDictionary<string, long> packed, IReadOnlyDictionary<string, string> together)
    {
        _packed = packed;
        _graph = graph;
        _inputs = inputs;
        _order = Order(graph, together);
        for (var i = 0; i < _order.Count; i++)
        {
            foreach (var output in _order[i].Outputs.OfType<OnnxValue>()) _position[output.Name] = i;
        }

        FindRecomputed();
        FindLastUses();
        foreach (var input in inputs) _firstConsumer[input] = input.Consumers.Min(name => _position[name]);
    }

    /// <summary>One segment up to the first reader of each input: what is before it is quantized when its statistics are gathered.</summary>
    internal IReadOnlyList<Segment> CutAtEveryInput() => Cut([.. _firstConsumer.Values.Distinct().Order()]);

    /// <summary>As few segments as keep the weights of each within a limit, cut where the fewest values are alive.</summary>
    /// <param name="weightBytes">The limit, in bytes of float32 weights; a single node may be above it.</param>
    internal IReadOnlyList<Segment> CutByWeight(long weightBytes)
    {
        var end = _inputs.Select(input => Produced(input)).DefaultIfEmpty(-1).Max() + 1;
        var cuts = new List<int>();
        for (var start = 0; start < end;)
        {
            var limit = start + 1;
            for (var bytes = Cost(start, start + 1) * sizeof(float); limit < end; limit++)
            {
                bytes += Cost(limit, limit + 1) * sizeof(float);
                if (bytes > weightBytes) break;
            }

            // In the second half of what fits, the place with the fewest values; of equal ones the last.
            var cut = limit >= end ? end : Enumerable.Range(start + 1, limit - start).Skip((limit - start) / 2).Reverse().MinBy(at => Alive(at).Count);
            cuts.Add(cut);
            start = cut;
        }

        return Cut(cuts);
    }

    private List<Segment> Cut(IReadOnlyList<int> cuts)
    {
        var segments = new List<Segment>();
        var start = 0;
        var left = _inputs.Count;
        foreach (var cut in cuts)
        {
            var inputs = _inputs.Where(input => Produced(input) is var at && at >= start && at < cut).ToList();
            left -= inputs.Count;
            segments.Add(new Segment(left == 0 ? [] : Alive(cut), inputs, Math.Max(1, Cost(start, cut))));
            start = cut;
            if (left == 0) break;
        }

        return segments;
    }

    private int Produced(CalibratedInput input) => _position.GetValueOrDefault(input.Name, 0);

    /// <summary>Values that nodes before a position compute and nodes from it on read.</summary>
    private List<string> Alive(int cut) =>
        [.. _lastUse.Where(use => use.Value >= cut && _position[use.Key] < cut && !_recomputed.Contains(use.Key)).Select(use => use.Key)];

    private long Cost(int start, int end)
    {
        var sum = 0L;
        foreach (var node in _order.Skip(start).Take(end - start).Where(node => node.OpType != "Gather"))
        {
            sum += node.Outputs is [{ } result, ..] && _packed.TryGetValue(result.Name, out var count)
                ? count
                : node.Inputs.Sum(input => input?.Constant is { } constant && constant.ByteLength > LightConstantBytes ? constant.Count : 0);
        }

        return sum;
    }

    /// <summary>The graph's order, with the Add of a bias right after its linear node.</summary>
    private static List<OnnxNode> Order(OnnxGraph graph, IReadOnlyDictionary<string, string> together)
    {
        var moved = together.ToDictionary(pair => pair.Value, pair => pair.Key);
        var adds = graph.Nodes.Where(node => node.Outputs is [{ } only, ..] && moved.ContainsKey(only.Name)).ToDictionary(node => node.Outputs[0]!.Name);
        var order = new List<OnnxNode>(graph.Nodes.Count);
        foreach (var node in graph.Nodes)
        {
            if (node.Outputs is [{ } result, ..] && adds.ContainsKey(result.Name)) continue;
            order.Add(node);
            if (node.Outputs is [{ } raw, ..] && together.TryGetValue(raw.Name, out var sum) && adds.TryGetValue(sum, out var add)) order.Add(add);
        }

        return order;
    }

    private void FindRecomputed()
    {
        var constants = new HashSet<string>();
        foreach (var node in _order)
        {
            var reads = SubgraphExtractor.Reads(node).Select(_graph.Find).OfType<OnnxValue>().ToList();
            var constant = reads.TrueForAll(value => value.Producer is null ? !value.IsGraphInput || value.IsInitializer : constants.Contains(value.Name));
            var light = reads.TrueForAll(value =>
                value.Producer is null
                    ? value.IsGraphInput || value.Constant is { } tensor && tensor.ByteLength <= LightConstantBytes
                    : _recomputed.Contains(value.Name));
            foreach (var output in node.Outputs.OfType<OnnxValue>())
            {
                if (_packed.ContainsKey(output.Name)) continue;
                if (constant) constants.Add(output.Name);
                if (constant || light) _recomputed.Add(output.Name);
            }
        }
    }

    /// <summary>Where the nodes that lead to an input of a linear last read each value.</summary>
    private void FindLastUses()
    {
        var needed = new HashSet<string>(_inputs.Select(input => input.Name));
        var consumers = new HashSet<string>(_inputs.SelectMany(input => input.Consumers));
        for (var i = _order.Count - 1; i >= 0; i--)
        {
            var node = _order[i];
            var isConsumer = node.Outputs.OfType<OnnxValue>().Any(output => consumers.Contains(output.Name));
            if (isConsumer && _inputs.FirstOrDefault(input => node.Inputs.Any(value => value?.Name == input.Name)) is { } read) _lastUse.TryAdd(read.Name, i);
            if (!node.Outputs.OfType<OnnxValue>().Any(output => needed.Contains(output.Name))) continue;
            foreach (var name in SubgraphExtractor.Reads(node))
            {
                needed.Add(name);
                if (_position.ContainsKey(name)) _lastUse.TryAdd(name, i);
            }
        }
    }
}
