namespace OrtQuant.GraphRewriter.Quantizers.Gram;

/// <summary>
/// Where the quantized model's inputs X^ differ from the original's X, the weight to come near to is not W but the one that makes of X^ what W made
/// of X: <c>|W X - W' X^|^2 = |(T - W') X^|^2 + const</c> with <c>T = W C G^-1</c>, C the cross Gram matrix (GPTAQ's target, arXiv 2504.02692, without
/// its recursion). The difference to W is damped as G is, and taken in part, so that it does not follow the sample.
/// </summary>
internal sealed class AsymmetricTarget
{
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
        for (var i = 0; i < k; i++)
        {
            for (var j = 0; j < k; j++)
            {
                var at = (order[i] * k) + order[j];
                _difference[(i * k) + j] = cross[at] - gram[at];
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

    // x M M^T = b in place: y M^T = b from the last position on, then x M = y from the first.
    private static void Solve(Span<float> b, int k, float[] m)
    {
        Span<float> negative = stackalloc float[Lanes.Count];
        for (var i = k - 1; i >= 0; i--)
        {
            var row = b.Slice(i * Lanes.Count, Lanes.Count);
            for (var j = i + 1; j < k; j++)
            {
                var factor = m[(i * k) + j];
                for (var lane = 0; lane < Lanes.Count; lane++) row[lane] -= factor * b[(j * Lanes.Count) + lane];
            }

            for (var lane = 0; lane < Lanes.Count; lane++) row[lane] /= m[(i * k) + i];
        }

        for (var i = 0; i < k; i++)
        {
            for (var lane = 0; lane < Lanes.Count; lane++)
            {
                b[(i * Lanes.Count) + lane] /= m[(i * k) + i];
                negative[lane] = -b[(i * Lanes.Count) + lane];
            }

            Lanes.AddProduct(b[((i + 1) * Lanes.Count)..], negative, m, k, i, i + 1);
        }
    }
}
