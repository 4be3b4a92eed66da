using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Evaluation;

/// <summary><c>ortquant evaluate</c> as a user runs it.</summary>
[TestClass]
public sealed class EvaluateCommandTests
{
    [TestMethod]
    public void ModelsAreOrderedByWhatQuantizationCosts()
    {
        using var folder = new TemporaryFolder();
        var (eight, three) = (folder.File("eight"), folder.File("three"));
        Tool.Run("rewrite", TestFiles.Stories260K, "-o", eight, "--bits", "8").ShouldSucceed();
        Tool.Run("rewrite", TestFiles.Stories260K, "-o", three, "--bits", "3", "--quality", "fast").ShouldSucceed();
        var (page, table) = (folder.File("report.html"), folder.File("report.md"));

        var result = Tool.Run(
            "evaluate", TestFiles.Stories260K, eight, three, "--max-tokens", "130", "--html", page, "--markdown", table, "--speed", "--prompt", "8", "--new", "4",
            "--repeat", "1", "--json").ShouldSucceed().Json();

        var models = result.GetProperty("models").EnumerateArray().ToArray();
        Assert.HasCount(2, models);
        Assert.AreEqual(128, result.GetProperty("scored_tokens").GetInt64());
        Assert.IsLessThan(models[1].GetProperty("kl").GetProperty("mean").GetDouble(), models[0].GetProperty("kl").GetProperty("mean").GetDouble());
        Assert.IsGreaterThan(models[1].GetProperty("top1_agreement").GetDouble(), models[0].GetProperty("top1_agreement").GetDouble());
        Assert.IsGreaterThan(models[1].GetProperty("bytes").GetInt64(), models[0].GetProperty("bytes").GetInt64());
        foreach (var model in models.Prepend(result.GetProperty("reference")))
        {
            Assert.IsGreaterThan(0, model.GetProperty("load_s").GetDouble());
            Assert.IsGreaterThan(0, model.GetProperty("decode_tokens_per_s").GetDouble());
            Assert.IsGreaterThan(0, model.GetProperty("prefill_tokens_per_s").GetDouble());
        }

        Assert.Contains("</html>", File.ReadAllText(page));
        Assert.AreEqual(5, File.ReadLines(table).TakeWhile(line => line.StartsWith('|')).Count());
    }
}
