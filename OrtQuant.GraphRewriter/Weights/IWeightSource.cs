using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Weights;

/// <summary>
/// A weight in float, read on demand a few rows at a time. Views compose (a scaled view of a concatenation of tensors),
/// so an exact transform of the model costs no copy. Reads are thread-safe.
/// </summary>
public interface IWeightSource
{
    /// <summary>Shape of the weight.</summary>
    WeightShape Shape { get; }

    /// <summary>Number of rows that is cheapest to read at once; reads of other sizes are right too.</summary>
    int PreferredRows => 64;

    /// <summary>Reads rows <c>n0 .. n0 + count - 1</c>.</summary>
    /// <param name="n0">First row (output).</param>
    /// <param name="count">Number of rows.</param>
    /// <param name="rows">Destination <c>[count, K]</c>, row-major.</param>
    /// <exception cref="ArgumentOutOfRangeException">The rows are outside the weight.</exception>
    /// <exception cref="ArgumentException">The destination is shorter than <c>count * K</c>.</exception>
    void ReadRows(long n0, int count, Span<float> rows);
}
