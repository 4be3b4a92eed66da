using System.Numerics.Tensors;

namespace OrtQuant.GraphRewriter.Quantizers.Gram;

/// <summary>
/// What all rows of a weight share: the Gram matrix in the order in which positions are fixed, shrunk towards its diagonal, damped until it can be factored, its factor, and
/// those of its diagonal blocks. Takes 12 K^2 bytes while it is made and 8 K^2 afterwards (K = 16384: 3.2 and 2.1 GB).
/// </summary>
internal sealed class GramProblem
{
    private const int MostEscalations = 6;
    private const double DeadShare = 0.1;

    public GramProblem(ReadOnlySpan<float> gram, ReadOnlySpan<float> diagonal, int groupSize, double shrinkage, double damping, int threads)
    {
        K = diagonal.Length;
        Order = new GroupOrder(diagonal, groupSize);
        Shrinkage = shrinkage;
        Gram = Permute(gram, Order.Positions);
        Shrink(Gram, K, shrinkage);
        (Factor, Damping) = Damp(Gram, K, damping, threads);
        Blocks = new Triangle[Order.Groups.Length];
        Ones = new float[Order.Groups.Length][];
        BlockOnes = new float[Order.Groups.Length][];
        for (var i = 0; i < Blocks.Length; i++)
        {
            var (_, start, length) = Order.Groups[i];
            var block = UpperFactor.Of(Gram, ((long)start * K) + start, K, length, 1)
                ?? throw new OrtQuantException($"group {Order.Groups[i].Group} of the Gram matrix of its inputs cannot be factored");
            Blocks[i] = new Triangle(block, length, 0, 0, length);
            Ones[i] = ColumnSums(FactorBlock(i));
            BlockOnes[i] = ColumnSums(Blocks[i]);
        }
    }

    public int K { get; }

    public GroupOrder Order { get; }

    /// <summary>Reordered and damped, <c>[K, K]</c>.</summary>
    public float[] Gram { get; }

    /// <summary>The upper factor of <see cref="Gram"/>.</summary>
    public float[] Factor { get; }

    /// <summary>What was taken of the elements off the diagonal, as a fraction: the part of a small sample that follows it and nothing else.</summary>
    public double Shrinkage { get; }

    /// <summary>What was added to the diagonal, as a fraction of each element.</summary>
    public double Damping { get; }

    /// <summary>Factors of the diagonal blocks of <see cref="Gram"/>, in order: for groups whose neighbours are all fixed.</summary>
    public Triangle[] Blocks { get; }

    /// <summary>Ones times <see cref="FactorBlock"/>.</summary>
    public float[][] Ones { get; }

    /// <summary>Ones times <see cref="Blocks"/>.</summary>
    public float[][] BlockOnes { get; }

    /// <summary>The diagonal block of <see cref="Factor"/>: for groups after which all others may still compensate.</summary>
    public Triangle FactorBlock(int i) => new(Factor, K, Order.Groups[i].Start, Order.Groups[i].Start, Order.Groups[i].Length);

    // In proportion to each channel: with a few channels of enormous inputs, a part of the mean diagonal would drown all others. Channels that are
    // (nearly) dead get a part of the median.
    private static (float[] Factor, double Damping) Damp(float[] gram, int k, double damping, int threads)
    {
        var diagonal = new float[k];
        for (var i = 0; i < k; i++) diagonal[i] = gram[(i * k) + i];
        var alive = diagonal.Where(value => value > 0).Order().ToArray();
        var typical = alive[alive.Length / 2];
        for (var attempt = 0; ; attempt++, damping *= 10)
        {
            for (var i = 0; i < k; i++) gram[(i * k) + i] = (float)(diagonal[i] + (damping * (diagonal[i] + (DeadShare * typical))));
            if (UpperFactor.Of(gram, 0, k, k, threads) is { } factor) return (factor, damping);
            if (attempt == MostEscalations) throw new OrtQuantException($"the Gram matrix of its inputs cannot be factored, not even with {damping:g3} of its diagonal added");
        }
    }

    private static void Shrink(float[] gram, int k, double shrinkage)
    {
        if (shrinkage == 0) return;
        for (var i = 0; i < k; i++)
        {
            var diagonal = gram[(i * k) + i];
            var row = gram.AsSpan(i * k, k);
            TensorPrimitives.Multiply(row, (float)(1 - shrinkage), row);
            row[i] = diagonal;
        }
    }

    private static float[] Permute(ReadOnlySpan<float> matrix, int[] order)
    {
        var k = order.Length;
        var result = new float[(long)k * k];
        for (var i = 0; i < k; i++)
        {
            var row = matrix.Slice(order[i] * k, k);
            var target = result.AsSpan(i * k, k);
            for (var j = 0; j < k; j++) target[j] = row[order[j]];
        }

        return result;
    }

    private static float[] ColumnSums(in Triangle m)
    {
        var sums = new float[m.Length];
        for (var i = 0; i < m.Length; i++)
        {
            for (var j = i; j < m.Length; j++) sums[j] += m.Values[((m.Row + i) * m.Stride) + m.Column + j];
        }

        return sums;
    }
}
