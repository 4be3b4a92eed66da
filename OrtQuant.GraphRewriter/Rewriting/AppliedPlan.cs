using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Rewriting;

/// <summary>A new node, and the weight that it reads.</summary>
internal sealed record EmittedNode(OnnxNode Node, WeightEncoding Encoding);

/// <summary>What applying a plan left in the model.</summary>
/// <param name="Encodings">Weights that are made when the model is saved, in the order in which they are stored.</param>
/// <param name="Nodes">New nodes.</param>
internal sealed record AppliedPlan(IReadOnlyList<WeightEncoding> Encodings, IReadOnlyList<EmittedNode> Nodes);
