using System.Diagnostics;
using System.Text.Json;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Cli;

/// <summary>The tool as a process: what a shell sees of it.</summary>
[TestClass]
public sealed class ToolProcessTests
{
    [TestMethod]
    public void GenerateStreamsTextAndReportsSpeedApart()
    {
        var result = Tool.Run("generate", TestFiles.Stories260K, "--prompt", "Once upon a time", "--max-new-tokens", "5").ShouldSucceed();

        Assert.AreEqual(", there was a little\n", result.Output);
        Assert.Contains("tokens/s", result.Error);
    }

    [TestMethod]
    public void GenerateAsJson()
    {
        var json = Tool.Run("generate", TestFiles.Stories260K, "--prompt", "Once upon a time", "--max-new-tokens", "5", "--json").ShouldSucceed().Json();

        Assert.AreEqual(", there was a little", json.GetProperty("text").GetString());
        Assert.AreEqual(5, json.GetProperty("new_tokens").GetInt32());
        Assert.IsGreaterThan(0, json.GetProperty("prefill_tokens_per_s").GetDouble());
        Assert.IsGreaterThan(0, json.GetProperty("decode_tokens_per_s").GetDouble());
    }

    [TestMethod]
    public void PerplexityAsJson()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.File("text"), "Once upon a time there was a girl.\n");

        var result = Tool.Run(
            "perplexity", TestFiles.Stories260K, "--text", folder.File("text"), "--tokenizer", TestFiles.Stories260K, "--bos", "--json").ShouldSucceed();

        var json = result.Json();
        Assert.IsGreaterThan(1, json.GetProperty("perplexity").GetDouble());
        Assert.IsGreaterThan(5, json.GetProperty("tokens").GetInt64());
        Assert.IsGreaterThan(0, json.GetProperty("seconds").GetDouble());
        Assert.Contains("scoring", result.Error);
    }

    [TestMethod]
    public void BenchModelAsJson()
    {
        var json = Tool.Run(
            "bench", "model", TestFiles.Stories260K, TestFiles.Stories260K, "--prompt", "8", "--new", "4", "--repeat", "2", "--threads", "1", "--json")
            .ShouldSucceed().Json();

        var models = json.GetProperty("models").EnumerateArray().ToArray();
        Assert.HasCount(2, models);
        foreach (var model in models)
        {
            Assert.IsGreaterThan(0, model.GetProperty("prefill_tokens_per_s").GetDouble());
            Assert.IsGreaterThan(0, model.GetProperty("decode_tokens_per_s").GetDouble());
            Assert.IsGreaterThan(0, model.GetProperty("load_s").GetDouble());
            Assert.IsTrue(model.TryGetProperty("rss_anonymous_bytes", out _));
        }

        Assert.AreEqual(1, json.GetProperty("ratios").GetArrayLength());
    }

    [TestMethod]
    public void BenchOpsAsJsonAndMarkdown()
    {
        using var folder = new TemporaryFolder();
        var page = folder.File("docs", "cpu.md");

        var json = Tool.Run(
            "bench", "ops", "--shape", "1024x768", "--bits", "3,4", "--group-size", "64", "--m", "32", "--repeat", "3", "--markdown", page, "--json")
            .ShouldSucceed().Json();

        foreach (var limit in (string[])["read_gbs", "int8_gops", "fp32_gflops"])
        {
            Assert.IsGreaterThan(0, json.GetProperty("roofline").GetProperty(limit).GetDouble());
        }

        var rows = json.GetProperty("rows").EnumerateArray().ToArray();
        Assert.HasCount(2, rows);
        AssertRow(rows[0], bits: 3, hasPeer: false);
        AssertRow(rows[1], bits: 4, hasPeer: true);
        Assert.Contains("not measured", File.ReadAllText(page));
    }

    private static void AssertRow(JsonElement row, int bits, bool hasPeer)
    {
        Assert.AreEqual(bits, row.GetProperty("bits").GetInt32());
        Assert.AreEqual(1024, row.GetProperty("k").GetInt32());
        Assert.AreEqual(768, row.GetProperty("n").GetInt32());
        Assert.AreEqual(32, row.GetProperty("m").GetInt32());
        // Codes, a float16 scale a group, and a zero point a group: as wide as a code, but 4 bits for 3.
        Assert.AreEqual((768 * 1024 * bits / 8) + (768 * 16 * 2) + (768 * 16 / 2), row.GetProperty("bytes").GetInt64());
        Assert.IsGreaterThan(0, row.GetProperty("us").GetDouble());
        Assert.IsGreaterThan(0, row.GetProperty("floor_us").GetDouble());
        if (!hasPeer)
        {
            foreach (var name in (string[])["peer", "peer_us", "peer_bytes", "ratio"])
            {
                Assert.AreEqual(JsonValueKind.Null, row.GetProperty(name).ValueKind);
            }

            return;
        }

        // The peer's scales are float32, and it packs its zero points.
        Assert.AreEqual((768 * 1024 / 2) + (768 * 16 * 4) + (768 * 16 / 2), row.GetProperty("peer_bytes").GetInt64());
        Assert.AreEqual(row.GetProperty("peer_us").GetDouble() / row.GetProperty("us").GetDouble(), row.GetProperty("ratio").GetDouble(), 0.01);
    }

    [TestMethod]
    public void VersionIsTheAssemblyVersion()
    {
        Assert.MatchesRegex(@"^\d+\.\d+\.\d+\n$", Tool.Run("--version").ShouldSucceed().Output);
    }

    [TestMethod]
    [OSCondition(ConditionMode.Exclude, OperatingSystems.Windows)]
    public void InterruptEndsWithExitCodeOneAndNoResult()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder.File("tokens"), new byte[4 * 2_000_000]);

        // A shell that runs the tests in the background lets them, and what they start, ignore interrupts.
        using var process = Process.Start(new ProcessStartInfo(
            "env", ["--default-signal=INT", "dotnet", Tool.Assembly, "perplexity", TestFiles.Stories260K, "--tokens", folder.File("tokens"), "--json"])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        while (process.StandardError.ReadLine() is { } line && !line.StartsWith("scoring", StringComparison.Ordinal))
        {
        }

        ProcessRunner.Run("kill", ["-INT", $"{process.Id}"]).ShouldSucceed();

        Assert.IsTrue(process.WaitForExit(TimeSpan.FromSeconds(30)), "did not end");
        Assert.AreEqual(1, process.ExitCode);
        Assert.Contains("cancelled", process.StandardError.ReadToEnd());
        Assert.Contains("\"error\"", process.StandardOutput.ReadToEnd());
    }
}
