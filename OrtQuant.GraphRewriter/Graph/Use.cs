namespace OrtQuant.GraphRewriter.Graph;

/// <summary>One reading of a value: an input of a node, which may be in an inner graph.</summary>
/// <param name="Node">The node that reads it.</param>
/// <param name="Index">Which of the node's inputs.</param>
public readonly record struct Use(OnnxNode Node, int Index);
