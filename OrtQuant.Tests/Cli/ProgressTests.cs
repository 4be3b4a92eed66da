using OrtQuant.GraphRewriter.Cli;

namespace OrtQuant.Tests.Cli;

[TestClass]
public sealed class ProgressTests
{
    [TestMethod]
    public async Task PlainProgressIsALineWhereAStageBeginsAndEnds()
    {
        using var output = new StringWriter();

        var result = await PlainProgress.RunAsync(output, progress =>
        {
            progress.Report(new StageProgress("reading", 0, 0));
            for (var done = 0; done <= 100; done++)
            {
                progress.Report(new StageProgress("writing", done, 100, $"tensor{done}"));
            }

            progress.Report(new StageProgress("writing", 100, 100));
            return 7;
        });

        Assert.AreEqual(7, result);
        CollectionAssert.AreEqual(
            new[] { "reading", "writing 0% tensor0", "writing 100%" },
            output.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }

    [TestMethod]
    public void NumbersThatJsonCannotWriteAreNull()
    {
        Assert.IsNull(JsonNumber.Of(double.NaN));
        Assert.IsNull(JsonNumber.Of(double.PositiveInfinity));
        Assert.IsNull(JsonNumber.Of(null));
        Assert.AreEqual("1.23", JsonNumber.Of(1.2345, 2)!.ToJsonString());
    }
}
