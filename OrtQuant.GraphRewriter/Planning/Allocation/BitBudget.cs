namespace OrtQuant.GraphRewriter.Planning.Allocation;

/// <summary>How much a plan may store: an average over its weights, or the size of the whole model.</summary>
/// <param name="BitsPerWeight">Stored bits (codes, scales, zero points) per weight, over all weights of the plan; null: no such limit.</param>
/// <param name="MaxBytes">Graph and external data in bytes; null: no such limit.</param>
public sealed record BitBudget(double? BitsPerWeight, long? MaxBytes);
