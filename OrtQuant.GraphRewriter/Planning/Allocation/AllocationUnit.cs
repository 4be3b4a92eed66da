using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Planning.Allocation;

/// <summary>A way to store a unit.</summary>
/// <param name="Parameters">Parameters of the scheme.</param>
/// <param name="Bytes">Bytes stored: codes, scales, zero points, padding.</param>
/// <param name="Error">Relative squared error of the unit: sum of m_k (w - w')^2 over sum of m_k w^2, with m_k the second moment of input k, or 1.</param>
internal sealed record AllocationCandidate(SchemeParameters Parameters, long Bytes, double Error);

/// <summary>What is given its bits as one: a weight, or the weights that a transform joins (q, k and v; gate and up), which must be stored alike.</summary>
/// <param name="Weight">The weight as it will be packed.</param>
/// <param name="Candidates">Ways to store it; at least one.</param>
internal sealed record AllocationUnit(PackedWeight Weight, IReadOnlyList<AllocationCandidate> Candidates)
{
    /// <summary>Names of its entries in the plan.</summary>
    internal IEnumerable<string> Entries => Weight.Parts.Select(part => part.Name);
}
