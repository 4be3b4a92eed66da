using OrtQuant.GraphRewriter.Quantizers.Gram;
using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Tests.Quantizers;

/// <summary>The factor and the error feedback beside direct solves.</summary>
[TestClass]
public sealed class FeedbackTests
{
    [TestMethod]
    [DataRow(1)]
    [DataRow(5)]
    [DataRow(64)]
    [DataRow(150)]
    [DataRow(151)]
    [DataRow(300)]
    public void TheFactorTimesItsTransposeIsTheMatrix(int k)
    {
        var gram = SyntheticInputs.Create(k, seed: k, tokens: k + 50).Gram.ToArray();
        var factor = UpperFactor.Of(gram, 0, k, k, threads: 2)!;

        var largest = gram.Max();
        for (var i = 0; i < k; i++)
        {
            for (var j = 0; j <= i; j++)
            {
                var product = Enumerable.Range(0, k).Sum(c => (double)factor[(i * k) + c] * factor[(j * k) + c]);
                Assert.AreEqual(gram[(i * k) + j], product, 1e-5 * largest);
                if (j < i) Assert.AreEqual(0f, factor[(i * k) + j]);
            }
        }
    }

    [TestMethod]
    public void AMatrixThatIsNotPositiveDefiniteHasNoFactor()
    {
        Assert.IsNull(UpperFactor.Of([1, 2, 2, 1], 0, 2, 2, threads: 1));
        Assert.IsNull(UpperFactor.Of(new float[9], 0, 3, 3, threads: 1));
    }

    /// <summary>Each position, when it is rounded, stands where the least squares solution over all that are still free puts it.</summary>
    [TestMethod]
    public void FeedbackIsTheDirectSolution()
    {
        const int K = 40;
        var inputs = SyntheticInputs.Create(K, seed: 3);
        var weights = SyntheticInputs.Weight(new WeightShape(2, K), seed: 4).ReadAll();
        var diagonal = inputs.SecondMoments.ToArray();
        var parameters = new GroupParameters(3, 16);
        var problem = new GramProblem(inputs.Gram.Span, diagonal, 16, shrinkage: 0, damping: 0.01, threads: 1);
        using var grid = (IAffineGrid)GroupScheme.Instance.CreateGrid(new WeightShape(2, K), parameters);

        RowFeedback.Quantize(problem, diagonal, grid, 0, 2, weights);

        for (var n = 0; n < 2; n++)
        {
            var row = weights.AsSpan(n * K, K);
            var errors = new double[K];
            for (var step = 0; step < K; step++)
            {
                var position = problem.Order.Positions[step];
                var target = row[position] - FreeError(problem, errors, step);
                var (scale, zeroPoint) = grid.GetGroup(n, position / 16);
                var place = (target / scale) + zeroPoint;
                var code = grid.Codes(n)[position];
                Assert.AreEqual(Math.Clamp(place, 0, 7), code, 0.5 + 1e-3, $"row {n}, step {step}");
                errors[step] = row[position] - (scale * (code - (double)zeroPoint));
            }
        }
    }

    /// <summary>The weight that makes of the quantized model's inputs what the original makes of its own: <c>W + (C - G) G^-1 / 2</c>, checked by multiplying it out again.</summary>
    [TestMethod]
    [DataRow(64, 0.0)]
    [DataRow(75, 0.0)]
    [DataRow(75, 0.3)]
    public void TheTargetSolvesTheNormalEquations(int k, double shrinkage)
    {
        var inputs = SyntheticInputs.Create(k, seed: 5);
        var problem = new GramProblem(inputs.Gram.Span, inputs.SecondMoments.Span, 16, shrinkage, damping: 0.01, threads: 1);
        var random = new Random(6);
        var cross = inputs.Gram.ToArray().Select(value => value * (0.9f + (0.2f * (float)random.NextDouble()))).ToArray();
        var tile = new float[k * Lanes.Count];
        for (var i = 0; i < tile.Length; i++) tile[i] = (float)random.NextDouble() - 0.5f;
        var weights = tile.ToArray();

        new AsymmetricTarget(problem, inputs.With(cross), 0.5).Move(tile, new float[tile.Length]);

        var order = problem.Order.Positions;
        for (var lane = 0; lane < Lanes.Count; lane++)
        {
            double largest = 0, off = 0;
            for (var j = 0; j < k; j++)
            {
                double wanted = 0, found = 0;
                for (var i = 0; i < k; i++)
                {
                    wanted += 0.5 * weights[(i * Lanes.Count) + lane] * (cross[(order[i] * k) + order[j]] - inputs.Gram.Span[(order[i] * k) + order[j]]) * (i == j ? 1 : 1 - shrinkage);
                    found += ((double)tile[(i * Lanes.Count) + lane] - weights[(i * Lanes.Count) + lane]) * problem.Gram[(i * k) + j];
                }

                largest = Math.Max(largest, Math.Abs(wanted));
                off = Math.Max(off, Math.Abs(wanted - found));
            }

            Assert.IsGreaterThan(0, largest, "there is something to solve");
            Assert.IsLessThan(2e-3 * largest, off, $"lane {lane}");
        }
    }

    // Of the errors e from a step on, those that minimize e G e^T with the ones before it fixed; the first of them. By Gaussian elimination.
    private static double FreeError(GramProblem problem, double[] errors, int step)
    {
        var k = problem.K;
        var size = k - step;
        var a = new double[size, size + 1];
        for (var i = 0; i < size; i++)
        {
            for (var j = 0; j < size; j++) a[i, j] = problem.Gram[((step + i) * k) + step + j];
            for (var j = 0; j < step; j++) a[i, size] -= problem.Gram[((step + i) * k) + j] * errors[j];
        }

        for (var pivot = size - 1; pivot >= 0; pivot--)
        {
            for (var i = 0; i < pivot; i++)
            {
                var factor = a[i, pivot] / a[pivot, pivot];
                for (var j = 0; j <= size; j++) a[i, j] -= factor * a[pivot, j];
            }
        }

        return a[0, size] / a[0, 0];
    }

    /// <summary>Few tokens for the channels: products of different ones count less, down to half; the diagonal stays but for the damping.</summary>
    [TestMethod]
    [DataRow(1_000_000L, 0.0)]
    [DataRow(400L, 0.05)]
    [DataRow(100L, 0.2)]
    [DataRow(10L, 0.5)]
    public void SmallSamplesAreShrunkTowardsTheirDiagonal(long tokens, double shrinkage)
    {
        const int K = 40;
        var inputs = SyntheticInputs.Create(K, seed: 3);
        var diagonal = inputs.SecondMoments.ToArray();

        var taken = GramOptions.Feedback.ShrinkageOf(K, tokens);
        var problem = new GramProblem(inputs.Gram.Span, diagonal, 16, taken, damping: 1e-6, threads: 1);

        Assert.AreEqual(shrinkage, taken, 1e-4);
        var order = problem.Order.Positions;
        for (var i = 0; i < K; i++)
        {
            for (var j = 0; j < K; j++)
            {
                var original = inputs.Gram.Span[(order[i] * K) + order[j]];
                if (i == j) Assert.AreEqual(original, problem.Gram[(i * K) + i], 1e-4 * original);
                else Assert.AreEqual((1 - taken) * original, problem.Gram[(i * K) + j], 1e-6 * diagonal.Max());
            }
        }
    }

    [TestMethod]
    public void GroupsStayWholeAndLargeInputsComeFirst()
    {
        float[] diagonal = [1, 2, 3, 4, 50, 60, 5, 5, 7, 8];
        var order = new GroupOrder(diagonal, 4);

        CollectionAssert.AreEqual((int[])[5, 4, 6, 7, 9, 8, 3, 2, 1, 0], order.Positions);
        CollectionAssert.AreEqual(((int, int, int)[])[(1, 0, 4), (2, 4, 2), (0, 6, 4)], order.Groups);
    }
}
