using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Recommendation;

/// <summary><c>ortquant recommend</c> as a user runs it.</summary>
[TestClass]
public sealed class RecommendCommandTests
{
    [TestMethod]
    public void SmallestModelWithinTheLossIsFoundAndWritten()
    {
        using var folder = new TemporaryFolder();
        var output = folder.File("out");

        var result = Tool.Run("recommend", TestFiles.Stories260K, "--max-loss", "3%", "-o", output, "--json").ShouldSucceed().Json();

        var tried = result.GetProperty("tried").EnumerateArray().ToArray();
        var meeting = tried.Where(trial => trial.GetProperty("meets").GetBoolean()).ToArray();
        Assert.IsNotEmpty(meeting);
        Assert.IsLessThan(tried.Length, meeting.Length, "it stops where more is lost, not before");
        foreach (var trial in tried) Assert.AreEqual(trial.GetProperty("loss").GetDouble() <= 0.03, trial.GetProperty("meets").GetBoolean());
        var best = tried.Single(trial => trial.GetProperty("recipe").GetString() == result.GetProperty("recommended").GetString());
        Assert.AreEqual(meeting.Min(trial => trial.GetProperty("bytes").GetInt64()), best.GetProperty("bytes").GetInt64());
        Assert.IsGreaterThan(0, best.GetProperty("decode_tokens_per_s").GetDouble());

        // What was written is what was measured: by another verb, on other text of its own, it loses about as much.
        Assert.AreEqual(best.GetProperty("bytes").GetInt64(), new FileInfo(Path.Combine(output, "model.onnx")).Length);
        var again = Tool.Run("evaluate", TestFiles.Stories260K, output, "--max-tokens", "520", "--json").ShouldSucceed().Json();
        Assert.IsLessThan(2 * 0.03, again.GetProperty("models")[0].GetProperty("kl").GetProperty("mean").GetDouble());
        Assert.HasCount(result.GetProperty("plan").GetProperty("weights").GetArrayLength(), result.GetProperty("plan").GetProperty("weights").EnumerateArray().Select(weight => weight.GetProperty("name").GetString()).Distinct().ToArray());
    }

    [TestMethod]
    public void LimitOfBytesHoldsAndWhatCannotBeSaysSo()
    {
        var limited = Tool.Run("recommend", TestFiles.Stories260K, "--max-loss", "1000%", "--max-bytes", "300kB", "--json").ShouldSucceed().Json();
        foreach (var trial in limited.GetProperty("tried").EnumerateArray()) Assert.IsLessThanOrEqualTo(300_000L, trial.GetProperty("bytes").GetInt64());

        var impossible = Tool.Run("recommend", TestFiles.Stories260K, "--max-loss", "0.0001%", "--json");
        Assert.AreEqual(1, impossible.ExitCode);
        Assert.Contains("error: nothing that was tried", impossible.Error);
        Assert.AreEqual(System.Text.Json.JsonValueKind.Null, impossible.Json().GetProperty("recommended").ValueKind);
        Assert.IsGreaterThan(0, impossible.Json().GetProperty("tried").GetArrayLength());
    }
}
