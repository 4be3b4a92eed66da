using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Matching.Patterns;

/// <summary>What a matcher made of a node: a use of a weight, or the reason for none.</summary>
internal readonly record struct NodeMatch(LinearUse? Linear, TableUse? Table, Mismatch? Mismatch)
{
    public static implicit operator NodeMatch(LinearUse linear) => new(linear, null, null);

    public static implicit operator NodeMatch(TableUse table) => new(null, table, null);

    public static implicit operator NodeMatch(Mismatch mismatch) => new(null, null, mismatch);
}

/// <summary>Recognizes one kind of node that reads a constant matrix.</summary>
internal interface INodeMatcher
{
    NodeMatch Match(OnnxNode node);
}
