namespace OrtQuant.GraphRewriter.Rewriting;

/// <summary>How far a rewrite has come.</summary>
/// <param name="Stage">What is being done: <c>planning</c>, <c>rewriting</c>, <c>quantizing</c>, <c>writing</c>.</param>
/// <param name="Done">Weights done.</param>
/// <param name="Total">Weights in all.</param>
/// <param name="Item">The weight being worked on.</param>
public readonly record struct RewriteProgress(string Stage, long Done, long Total, string? Item = null);
