using OrtQuant.GraphRewriter.Comparison;

namespace OrtQuant.Tests.Comparison;

[TestClass]
public sealed class LogProbabilitiesTests
{
    [TestMethod]
    [DataRow(1)]
    [DataRow(511)]
    [DataRow(513)]
    [DataRow(5000)]
    public void LogSumExpEqualsTheDoublePrecisionSum(int count)
    {
        var scores = Scores(count, seed: count, scale: 20);

        var actual = LogProbabilities.LogSumExp(scores, new float[count]);

        Assert.AreEqual(Math.Log(scores.Sum(score => Math.Exp(score))), actual, 1e-5);
    }

    [TestMethod]
    public void LargeScoresDoNotOverflow()
    {
        Assert.AreEqual(30000 + Math.Log(2), LogProbabilities.LogSumExp([30000f, 30000f, -30000f], new float[3]), 1e-2);
    }

    [TestMethod]
    public void DivergenceEqualsItsDefinition()
    {
        var (p, q) = (Scores(1000, seed: 1, scale: 5), Scores(1000, seed: 2, scale: 5));

        var expected = Enumerable.Range(0, p.Length).Sum(i => Probability(p, i) * (Math.Log(Probability(p, i)) - Math.Log(Probability(q, i))));

        Assert.AreEqual(expected, Divergence(p, q), 1e-5);
        Assert.IsGreaterThan(1, expected);
    }

    [TestMethod]
    public void DivergenceOfEqualDistributionsIsZero()
    {
        var p = Scores(1000, seed: 1, scale: 5);

        Assert.AreEqual(0, Divergence(p, p));
        Assert.AreEqual(0, Divergence(p, [.. p.Select(score => score + 3)]), 1e-5);
    }

    [TestMethod]
    public void NotANumberStaysVisible()
    {
        var meter = new DifferenceMeter();
        meter.Add([1, 2, 3], [1, float.NaN, 3]);

        Assert.IsTrue(double.IsNaN(meter.MaxAbs));
        Assert.IsTrue(double.IsNaN(meter.RelativeL2));
        Assert.IsTrue(double.IsNaN(Divergence([0, 1], [0, float.NaN])));
    }

    [TestMethod]
    public void DifferencesEqualTheirDefinitions()
    {
        var meter = new DifferenceMeter();
        meter.Add([3, 0], [3, 1]);
        meter.Add([0, 4], [0, 4]);

        Assert.AreEqual(1, meter.MaxAbs);
        Assert.AreEqual(1 / 5.0, meter.RelativeL2, 1e-7);
        Assert.AreEqual(25 / Math.Sqrt(25 * 26), meter.Cosine, 1e-7);
    }

    private static double Divergence(float[] p, float[] q)
    {
        var scratch = new float[p.Length];
        return LogProbabilities.Divergence(
            p, LogProbabilities.LogSumExp(p, scratch), q, LogProbabilities.LogSumExp(q, scratch), scratch, new float[p.Length]);
    }

    private static double Probability(float[] scores, int index) => Math.Exp(scores[index]) / scores.Sum(score => Math.Exp(score));

    private static float[] Scores(int count, int seed, double scale)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (float)(scale * random.NextDouble()))];
    }
}
