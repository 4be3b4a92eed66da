using OrtQuant.GraphRewriter.Benchmarks;

namespace OrtQuant.Tests.Benchmarks;

[TestClass]
public sealed class SampleTests
{
    [TestMethod]
    public void SummarizesTimings()
    {
        Assert.AreEqual(new Sample(2, 1, 9, 3), Sample.Of([9, 1, 2]));
        Assert.AreEqual(new Sample(3, 1, 9, 4), Sample.Of([9, 1, 2, 4]));
        Assert.AreEqual(new Sample(1, 0.5, 4.5, 3), Sample.Of([9, 1, 2]).DividedBy(2));
    }

    [TestMethod]
    public void RunsTakeTurns()
    {
        var order = new List<char>();

        var samples = Sample.Interleave([() => order.Add('a'), () => order.Add('b')], 4, TimeSpan.FromMinutes(1), TimeSpan.Zero, CancellationToken.None);

        Assert.AreEqual("ababababab", string.Concat(order));
        Assert.AreEqual(4, samples[1].Repeats);
    }

    [TestMethod]
    public void BudgetEndsSlowRunsAfterThreeRounds()
    {
        var rounds = 0;

        var samples = Sample.Interleave(
            [() => { rounds++; Thread.Sleep(5); }], 1000, TimeSpan.FromMilliseconds(1), TimeSpan.FromMinutes(1), CancellationToken.None);

        Assert.AreEqual(3, samples[0].Repeats);
        Assert.AreEqual(4, rounds);
        Assert.IsGreaterThanOrEqualTo(0.004, samples[0].Min);
    }
}
