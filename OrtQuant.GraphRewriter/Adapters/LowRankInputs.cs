using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Adapters;

/// <summary>The low-rank inputs of an op from the changes that its weight is given: <c>Y += (X A) B</c>.</summary>
internal static class LowRankInputs
{
    /// <summary>Factors A <c>[K, r]</c> and B <c>[r, N]</c>; several changes stand side by side, each in its own rows.</summary>
    /// <param name="changes">Changes without pools, at least one.</param>
    /// <param name="shape">Shape of the weight.</param>
    /// <param name="type">Type of X and Y, and so of the factors.</param>
    internal static (LazyTensor A, LazyTensor B) Create(IReadOnlyList<LowRankChange> changes, WeightShape shape, ElementType type)
    {
        var rank = changes.Sum(change => change.Rank);
        var a = new float[shape.K * rank];
        var b = new float[rank * shape.N];
        var first = 0;
        foreach (var change in changes)
        {
            var values = change.Read();
            var transposed = values.Transpose();
            for (var r = 0; r < change.Rank; r++)
            {
                var row = values.RowOfA(r);
                for (var k = 0; k < row.Length; k++) a[((long)k * rank) + first + r] = row[k];
                transposed.AsSpan(r * change.Rows, change.Rows).CopyTo(b.AsSpan(checked((int)(((first + r) * shape.N) + change.FirstRow)), change.Rows));
            }

            first += change.Rank;
        }

        return (LazyTensor.FromFloats(type, [shape.K, rank], a), LazyTensor.FromFloats(type, [rank, shape.N], b));
    }
}
