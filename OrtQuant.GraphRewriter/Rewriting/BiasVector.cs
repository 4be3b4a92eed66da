using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Rewriting;

/// <summary>The bias <c>[N]</c> of a new node, from what its parts had: one vector each, one value for all outputs, or none.</summary>
internal static class BiasVector
{
    /// <summary>The bias input, or null where no part has one. An initializer that is right as it stands is used as it stands.</summary>
    /// <param name="graph">Where a new initializer goes.</param>
    /// <param name="parts">The nodes side by side.</param>
    /// <param name="type">Type of X and Y.</param>
    /// <param name="name">Name of a new initializer.</param>
    internal static OnnxValue? Create(OnnxGraph graph, IReadOnlyList<LinearPart> parts, ElementType type, string name)
    {
        if (parts.All(part => part.Use.Bias is null)) return null;
        if (parts is [{ Use.Bias: { Scale: 1, View: { Shape: [var only], Root.Constant: { } tensor } view } }, ..]
            && parts.Count == 1 && only == parts[0].N && tensor.Type == type && tensor.Shape.Count == 1)
        {
            return view.Root;
        }

        var values = new float[parts.Sum(part => part.N)];
        var at = 0L;
        foreach (var part in parts)
        {
            if (part.Use.Bias is { } bias)
            {
                var given = bias.View.Tensor.ReadFloats();
                for (var n = 0; n < part.N; n++) values[at + n] = bias.Scale * given[given.Length == 1 ? 0 : n];
            }

            at += part.N;
        }

        return graph.AddInitializer(graph.UniqueName(name), LazyTensor.FromFloats(type, [values.Length], values));
    }
}
