using OrtQuant.GraphRewriter.Planning;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Calibration;

/// <summary>Calibration from the command line, on the bundled model.</summary>
[TestClass]
public sealed class CalibratedStoriesTests
{
    [TestMethod]
    public void TheDefaultIsBalancedOnTextOfItsOwn()
    {
        using var folder = new TemporaryFolder();
        var (output, named) = (folder.File("out"), folder.File("named"));
        var result = Tool.Run("rewrite", TestFiles.Stories260K, "-o", output, "--json").ShouldSucceed().Json().GetProperty("calibration");
        Assert.Contains("text that the model wrote itself", result.GetProperty("source").GetString()!);
        Assert.AreEqual(QualityRecipe.Balanced.OwnText.Sequences * QualityRecipe.Balanced.OwnText.Length, result.GetProperty("tokens").GetInt64());
        Tool.Run("rewrite", TestFiles.Stories260K, "-o", named, "--quality", "balanced").ShouldSucceed();
        CollectionAssert.AreEqual(File.ReadAllBytes(Path.Combine(named, "model.onnx")), File.ReadAllBytes(Path.Combine(output, "model.onnx")));

        // A plan says the same.
        var plan = folder.File("plan");
        File.WriteAllText(plan, Tool.Run("plan", TestFiles.Stories260K, "--json").ShouldSucceed().Output);
        Tool.Run("rewrite", TestFiles.Stories260K, "-o", named, "--plan", plan).ShouldSucceed();
        CollectionAssert.AreEqual(File.ReadAllBytes(Path.Combine(named, "model.onnx")), File.ReadAllBytes(Path.Combine(output, "model.onnx")));
    }

    [TestMethod]
    public void EightBitsAreNotCalibratedUnlessAsked()
    {
        using var folder = new TemporaryFolder();
        var result = Tool.Run("rewrite", TestFiles.Stories260K, "-o", folder.File("out"), "--bits", "8", "--json").ShouldSucceed().Json();
        Assert.AreEqual(System.Text.Json.JsonValueKind.Null, result.GetProperty("calibration").ValueKind);
        Assert.AreEqual("fast balanced balanced", string.Join(' ', new[] { QualityRecipe.Default(8, false), QualityRecipe.Default(8, true), QualityRecipe.Default(null, false) }.Select(recipe => recipe.Name)));
    }

    [TestMethod]
    public void SavedStatisticsGiveTheSameModel()
    {
        using var folder = new TemporaryFolder();
        var (output, stats) = (folder.File("out"), folder.File("stats"));
        var result = Tool.Run("rewrite", TestFiles.Stories260K, "-o", output, "--algorithm", "weighted", "--save-stats", stats, "--json").ShouldSucceed().Json().GetProperty("calibration");
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
        var result = Tool.Run("rewrite", path, "-o", folder.File("out.onnx")).ShouldSucceed();
        Assert.Contains("note: rounded to nearest, because the model cannot be calibrated", result.Error);

        Tool.Run("rewrite", path, "-o", folder.File("out.onnx"), "--algorithm", "weighted").ShouldFail(1, "input_ids");
    }
}
