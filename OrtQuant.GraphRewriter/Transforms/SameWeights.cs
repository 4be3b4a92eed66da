using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Matching;

namespace OrtQuant.GraphRewriter.Transforms;

/// <summary>Whether two matrices hold the same values, each read as its reader sees it: one may be stored transposed or in a wider type.</summary>
internal static class SameWeights
{
    // A plan compares when it is made and again when it is applied, as a rule to the same model: tensors do not change.
    private static readonly ConditionalWeakTable<LazyTensor, LazyTensor> KnownEqual = [];

    /// <summary>Compares every value; of a pair that was found equal before, none.</summary>
    internal static bool Compare(WeightMatrix a, WeightMatrix b, CancellationToken cancellation)
    {
        if (a.Shape != b.Shape) return false;
        if (a == b) return true;
        var plain = a.Scale == 1 && b.Scale == 1;
        if (plain && KnownEqual.TryGetValue(a.Tensor, out var known) && ReferenceEquals(known, b.Tensor)) return true;
        var equal = CompareValues(a, b, cancellation);
        if (equal && plain) KnownEqual.AddOrUpdate(a.Tensor, b.Tensor);
        return equal;
    }

    private static bool CompareValues(WeightMatrix a, WeightMatrix b, CancellationToken cancellation)
    {
        var (left, right) = (a.Open(), b.Open());
        var (rows, width) = (a.Shape.N, checked((int)a.Shape.K));
        var block = Math.Max(left.PreferredRows, right.PreferredRows);
        var blocks = (rows + block - 1) / block;

        // Different matrices differ at once: one block settles it before threads are started.
        if (!Equal(0)) return false;
        var same = true;
        Parallel.For(1, blocks, new ParallelOptions { CancellationToken = cancellation }, (index, state) =>
        {
            if (Equal(index)) return;
            same = false;
            state.Stop();
        });
        return same;

        bool Equal(long index)
        {
            var first = index * block;
            var count = (int)Math.Min(block, rows - first);
            var x = new float[count * width];
            var y = new float[count * width];
            left.ReadRows(first, count, x);
            right.ReadRows(first, count, y);
            return MemoryMarshal.AsBytes<float>(x).SequenceEqual(MemoryMarshal.AsBytes<float>(y));
        }
    }
}
