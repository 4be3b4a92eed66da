using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Matching;

/// <summary>A constant vector added to the outputs of a linear node: shape <c>[N]</c>, or one value for all outputs.</summary>
/// <param name="View">The constant; N elements or one.</param>
/// <param name="Scale">Factor on it: a Gemm's beta, else 1.</param>
internal sealed record LinearBias(ConstantView View, float Scale);

/// <summary>
/// One node that multiplies by a constant matrix: <c>Y = X' · W^T + bias</c>, X' being X, or its transpose.
/// </summary>
/// <param name="Node">The MatMul or Gemm.</param>
/// <param name="Weight">W, a Gemm's alpha included.</param>
/// <param name="X">Activations.</param>
/// <param name="Y">Result; that of the bias Add where there is one.</param>
internal sealed record LinearUse(OnnxNode Node, WeightMatrix Weight, OnnxValue X, OnnxValue Y)
{
    /// <summary>The node reads the transpose of the two-dimensional X (a Gemm's transA).</summary>
    internal bool TransposeX { get; init; }

    /// <summary>Bias that the new node can take over.</summary>
    internal LinearBias? Bias { get; init; }

    /// <summary>The Add that the bias comes from; it disappears with the node.</summary>
    internal OnnxNode? BiasAdd { get; init; }

    /// <summary>A Gemm's C that is no bias vector, times beta: added by nodes of its own.</summary>
    internal (OnnxValue Value, float Scale)? Addend { get; init; }
}

/// <summary>One Gather of rows of a constant matrix.</summary>
/// <param name="Node">The Gather.</param>
/// <param name="Table">The matrix whose rows are read.</param>
/// <param name="Indices">Row numbers, any shape.</param>
internal sealed record TableUse(OnnxNode Node, WeightMatrix Table, OnnxValue Indices);

/// <summary>A constant matrix and everything that reads it as one.</summary>
/// <param name="Name">Name of the weight in the plan: unique in the model.</param>
/// <param name="Matrix">The matrix.</param>
/// <param name="Linears">Nodes that multiply by it, in graph order.</param>
/// <param name="Tables">Nodes that gather its rows, in graph order.</param>
internal sealed record MatchedWeight(
    string Name, WeightMatrix Matrix, IReadOnlyList<LinearUse> Linears, IReadOnlyList<TableUse> Tables);

/// <summary>A node that holds weights and stays as it is.</summary>
/// <param name="Name">Name of the node.</param>
/// <param name="Op">Its op type.</param>
/// <param name="Reason">Why.</param>
public sealed record SkippedNode(string Name, string Op, string Reason);

/// <summary>The weights of a model, and the nodes with weights that no pattern takes.</summary>
/// <param name="Weights">Weights in the order in which the graph first reads them.</param>
/// <param name="Skipped">What was left alone, in graph order.</param>
internal sealed record MatchedModel(IReadOnlyList<MatchedWeight> Weights, IReadOnlyList<SkippedNode> Skipped);
