using System.Numerics.Tensors;

namespace OrtQuant.GraphRewriter.Quantizers.Gram;

/// <summary>
/// Where the quantized model's inputs X^ differ from the original's X, the weight to come near to is not W but the one that makes of X^ what W made
/// of X: <c>|W X - W' X^|^2 = |(T - W') X^|^2 + const</c> with <c>T = W C G^-1</c>, C the cross Gram matrix (GPTAQ's target, arXiv 2504.02692, without
/// its recursion). The difference to W is shrunk and damped as G is, and taken in part, so that it does not follow the sample.
/// </summary>
internal sealed class AsymmetricTarget
{
    private const int Block = 32;

    private readonly GramProblem _problem;
    private readonly float[] _difference;
    private readonly float _part;

    public AsymmetricTarget(GramProblem problem, IActivationStatistics statistics, double part)
    {
        (_problem, _part) = (problem, (float)part);
        var (k, order) = (problem.K, problem.Order.Positions);
        var cross = statistics.CrossGram.Span;
        var gram = statistics.Gram.Span;
        _difference = new float[(long)k * k];
        var kept = (float)(1 - problem.Shrinkage);
        for (var i = 0; i < k; i++)
        {
            for (var j = 0; j < k; j++)
            {
                var at = (order[i] * k) + order[j];
                _difference[(i * k) + j] = (cross[at] - gram[at]) * (i == j ? 1 : kept);
            }
        }
    }

    /// <summary>Moves a tile of weights <c>[K, 16]</c>, in the problem's order.</summary>
    /// <param name="tile">The weights.</param>
    /// <param name="scratch">As long.</param>
    public void Move(Span<float> tile, Span<float> scratch)
    {
        var k = _problem.K;
        scratch.Clear();
        foreach (var (_, start, length) in _problem.Order.Groups)
        {
            Lanes.AddProduct(scratch, tile.Slice(start * Lanes.Count, length * Lanes.Count), _difference, k, start, 0);
        }

        Solve(scratch, k, _problem.Factor);
        for (var i = 0; i < tile.Length; i++) tile[i] += _part * scratch[i];
    }

    // x M M^T = b in place: y M^T = b from the last position on, then x M = y from the first; a block of positions at a time, so that most of the work
    // is a product that stays in registers.
    private static void Solve(Span<float> b, int k, float[] m)
    {
        for (var end = k; end > 0; end = (end - 1) / Block * Block)
        {
            var start = (end - 1) / Block * Block;
            Lanes.SubtractTransposed(Rows(b, start, end), b[(end * Lanes.Count)..], m, k, start, end);
            for (var i = end - 1; i >= start; i--)
            {
                Lanes.SubtractTransposed(Rows(b, i, i + 1), Rows(b, i + 1, end), m, k, i, i + 1);
                TensorPrimitives.Divide(Rows(b, i, i + 1), m[(i * k) + i], Rows(b, i, i + 1));
            }
        }

        Span<float> negative = stackalloc float[Block * Lanes.Count];
        for (var start = 0; start < k; start += Block)
        {
            var end = Math.Min(k, start + Block);
            for (var i = start; i < end; i++)
            {
                TensorPrimitives.Divide(Rows(b, i, i + 1), m[(i * k) + i], Rows(b, i, i + 1));
                TensorPrimitives.Negate(Rows(b, i, i + 1), Rows(negative, i - start, i - start + 1));
                Lanes.AddProduct(Rows(b, i + 1, end), Rows(negative, i - start, i - start + 1), m, k, i, i + 1);
            }

            Lanes.AddProduct(b[(end * Lanes.Count)..], Rows(negative, 0, end - start), m, k, start, end);
        }
    }

    private static Span<float> Rows(Span<float> tile, int start, int end) => tile[(start * Lanes.Count)..(end * Lanes.Count)];
}
