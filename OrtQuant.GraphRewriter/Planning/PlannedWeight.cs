using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Planning;

/// <summary>What happens to one weight.</summary>
/// <param name="Name">Name of the weight: its initializer's, or that of the Constant node's output.</param>
/// <param name="Shape">N outputs, K inputs.</param>
/// <param name="Consumers">Nodes that read the packed weight afterwards; other readers keep the original.</param>
/// <param name="Scheme">Name of the scheme.</param>
/// <param name="Parameters">Parameters of the scheme.</param>
/// <param name="Algorithm">Name of the algorithm; <see cref="Adopt"/> keeps the codes of a weight that is quantized already.</param>
/// <param name="AccuracyLevel">0 or 1: float; 4: int8 activations.</param>
/// <param name="Why">Why these choices, for the reader of the plan.</param>
public sealed record PlannedWeight(
    string Name,
    WeightShape Shape,
    IReadOnlyList<string> Consumers,
    string Scheme,
    SchemeParameters Parameters,
    string Algorithm,
    int AccuracyLevel,
    string Why)
{
    /// <summary>The algorithm of weights that keep the codes, scales and zero points they have.</summary>
    public const string Adopt = "adopt";

    /// <summary>The choices in a few words, for messages.</summary>
    internal string Settings() => $"{Scheme} {Parameters}, {Algorithm}, accuracy level {AccuracyLevel}";

    /// <summary>Whether another weight is stored and computed in the same way, so that both can be one.</summary>
    internal bool AgreesWith(PlannedWeight other) =>
        (Scheme, Algorithm, AccuracyLevel) == (other.Scheme, other.Algorithm, other.AccuracyLevel) && Parameters.Equals(other.Parameters);
}
