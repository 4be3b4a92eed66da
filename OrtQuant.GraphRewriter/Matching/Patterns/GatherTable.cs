using OrtQuant.GraphRewriter.Graph;
using static OrtQuant.GraphRewriter.Matching.Pattern;

namespace OrtQuant.GraphRewriter.Matching.Patterns;

/// <summary><c>Gather(table, indices)</c> of whole rows of a constant matrix: an embedding.</summary>
internal sealed class GatherTable : INodeMatcher
{
    private static readonly NodePattern Pattern = Node("Gather", Constant("table"), Activation("indices"));

    public NodeMatch Match(OnnxNode node)
    {
        var match = Pattern.Match(node);
        if (match.Bindings is not { } found) return Mismatch.NotAWeight(match.Mismatch!.Reason);
        if (node.GetInt("axis", 0) != 0) return Mismatch.NotAWeight("Gather does not read rows");
        return WeightMatrix.OfTable(found.Constant("table")) is { } table
            ? new TableUse(node, table, found.Value("indices"))
            : Mismatch.NotAWeight("Gather reads no float matrix");
    }
}
