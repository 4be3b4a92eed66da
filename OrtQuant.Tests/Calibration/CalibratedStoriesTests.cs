using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Calibration;

/// <summary>Calibration from the command line, on the bundled model.</summary>
[TestClass]
public sealed class CalibratedStoriesTests
{
    [TestMethod]
    public void BalancedWritesItsOwnText()
    {
        using var folder = new TemporaryFolder();
        var (output, stats) = (folder.File("out"), folder.File("stats"));
        var result = Tool.Run("rewrite", TestFiles.Stories260K, "-o", output, "--quality", "balanced", "--save-stats", stats, "--json").ShouldSucceed().Json().GetProperty("calibration");
        Assert.Contains("text that the model wrote itself", result.GetProperty("source").GetString()!);
        Assert.AreEqual(21, result.GetProperty("weights").GetInt32());
        Assert.AreEqual(0, result.GetProperty("uncalibrated").GetArrayLength());
        Assert.AreEqual(System.Text.Json.JsonValueKind.Null, result.GetProperty("fallback").ValueKind);

        var again = folder.File("again");
        Tool.Run("rewrite", TestFiles.Stories260K, "-o", again, "--stats", stats).ShouldSucceed();
        CollectionAssert.AreEqual(File.ReadAllBytes(Path.Combine(output, "model.onnx")), File.ReadAllBytes(Path.Combine(again, "model.onnx")));
        CollectionAssert.AreEquivalent(
            new[] { "again", "out", "stats" }, Directory.EnumerateFileSystemEntries(folder.Path).Select(Path.GetFileName).ToArray(), "nothing else is left");
    }

    [TestMethod]
    public void TextIsReadWithTheTokenizerBesideTheModel()
    {
        using var folder = new TemporaryFolder();
        var text = folder.File("text");
        File.WriteAllText(text, string.Concat(Enumerable.Repeat("Once upon a time there was a little girl who liked to play in the park. ", 40)));
        var result = Tool.Run("rewrite", TestFiles.Stories260K, "-o", folder.File("out"), "--calibration", text, "--json").ShouldSucceed().Json();
        Assert.AreEqual(text, result.GetProperty("calibration").GetProperty("source").GetString());
        Assert.IsGreaterThan(500, result.GetProperty("calibration").GetProperty("tokens").GetInt64());
    }

    [TestMethod]
    public void WhatIsNoLanguageModelIsRoundedWithAMessage()
    {
        using var folder = new TemporaryFolder();
        var path = GraphFixtures.SingleFloat32Weight().Save(folder.Path);
        var result = Tool.Run("rewrite", path, "-o", folder.File("out.onnx"), "--quality", "balanced").ShouldSucceed();
        Assert.Contains("note: rounded to nearest, because the model cannot be calibrated", result.Error);

        Tool.Run("rewrite", path, "-o", folder.File("out.onnx"), "--algorithm", "weighted").ShouldFail(1, "input_ids");
    }
}
