using System.Text.Json;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.EndToEnd;

/// <summary>The bundled model through the tool, as a user runs it.</summary>
[TestClass]
public sealed class Stories260KTests
{
    private const string Prompt = "Once upon a time";
    private const string Continuation = ", there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball.";

    [TestMethod]
    public void RewriteVerifiesAndSaysSo()
    {
        using var folder = new TemporaryFolder();
        var output = folder.File("stories260k");
        var result = Tool.Run("rewrite", TestFiles.Stories260K, "-o", output, "--quality", "fast", "--verify", "--json").ShouldSucceed().Json();
        Assert.AreEqual(0, result.GetProperty("skipped").GetArrayLength());

        // 35 linears as 20 nodes (q, k and v, gate and up are one each), the head, and the embedding.
        Assert.AreEqual(22, result.GetProperty("nodes").GetArrayLength());
        foreach (var node in result.GetProperty("nodes").EnumerateArray()) Assert.IsLessThan(0.11, node.GetProperty("relative_error").GetDouble());
        Assert.AreEqual(new FileInfo(Path.Combine(TestFiles.Stories260K, "model.onnx")).Length, result.GetProperty("bytes_in").GetInt64());
        Assert.AreEqual(new FileInfo(Path.Combine(output, "model.onnx")).Length, result.GetProperty("bytes_out").GetInt64());
        Assert.IsGreaterThan(0, result.GetProperty("seconds").GetDouble());
        Assert.IsGreaterThan(result.GetProperty("peak_anonymous_bytes").GetInt64(), result.GetProperty("peak_rss_bytes").GetInt64());

        var compare = result.GetProperty("compare");
        Assert.IsTrue(compare.GetProperty("kernels").EnumerateArray().All(check => check.GetProperty("passed").GetBoolean()));
        CollectionAssert.AreEqual(
            new[] { "float", "int8" }, compare.GetProperty("kernels").EnumerateArray().Select(check => check.GetProperty("level").GetString()).ToArray());
        Assert.IsLessThan(0.15, compare.GetProperty("kl_mean").GetDouble());
        Assert.IsTrue(File.Exists(Path.Combine(output, "tokenizer.json")), "the folder can be used at once");
    }

    [TestMethod]
    public void EightBitsContinueAsTheOriginalDoes()
    {
        using var folder = new TemporaryFolder();
        var output = folder.File("stories260k");
        Tool.Run("rewrite", TestFiles.Stories260K, "-o", output, "--bits", "8").ShouldSucceed();
        Assert.AreEqual(Continuation, Generate(output));
        Assert.AreEqual(Continuation, Generate(output, "--no-library"));
        Assert.AreEqual(Continuation, Generate(TestFiles.Stories260K));
    }

    [TestMethod]
    [DataRow("8-bit g32", 4.197, "--bits", "8")]
    [DataRow("4-bit g16, rounded", 4.48, "--group-size", "16", "--quality", "fast")]
    [DataRow("4-bit g32, rounded", 4.58, "--quality", "fast")]
    [DataRow("4-bit g32, the default", 4.42)]
    [DataRow("4-bit g32, best, without data", 4.42, "--quality", "best")]
    public void PerplexityIsAsPromised(string what, double most, params string[] options)
    {
        var text = File.ReadAllText(TestFiles.Optional("text/tinystories-eval.txt"));
        using var folder = new TemporaryFolder();
        var stories = folder.File("stories.txt");
        File.WriteAllText(stories, string.Join("<|endoftext|>", text.Split("<|endoftext|>", StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Take(40)));
        var output = folder.File("stories260k");
        Tool.Run(["rewrite", TestFiles.Stories260K, "-o", output, .. options]).ShouldSucceed();
        var result = Tool.Run("perplexity", output, "--text", stories, "--tokenizer", output, "--bos", "--separator", "<|endoftext|>", "--json").ShouldSucceed().Json();
        Assert.AreEqual(14182, result.GetProperty("tokens").GetInt64());
        Assert.IsLessThanOrEqualTo(most, result.GetProperty("perplexity").GetDouble(), what);
    }

    [TestMethod]
    public void PlanFileIsFollowed()
    {
        using var folder = new TemporaryFolder();
        var plan = folder.File("plan.json");
        File.WriteAllText(plan, Tool.Run("plan", TestFiles.Stories260K, "--only", "layers.0", "--quality", "fast", "--json").ShouldSucceed().Output);
        var result = Tool.Run("rewrite", TestFiles.Stories260K, "-o", folder.File("out"), "--plan", plan, "--json").ShouldSucceed().Json();
        Assert.IsTrue(result.GetProperty("nodes").EnumerateArray().All(node => node.GetProperty("name").GetString()!.Contains("layers.0", StringComparison.Ordinal)));
        Assert.AreEqual(4, result.GetProperty("nodes").GetArrayLength());

        File.WriteAllText(plan, File.ReadAllText(plan).Replace("onnx::MatMul_1646", "onnx::MatMul_9999", StringComparison.Ordinal));
        Tool.Run("rewrite", TestFiles.Stories260K, "-o", folder.File("bad"), "--plan", plan).ShouldFail(1, "onnx::MatMul_9999", "which the model does not have");
        Assert.IsFalse(File.Exists(Path.Combine(folder.File("bad"), "model.onnx")));
    }

    [TestMethod]
    [DataRow("--bits", "5", "bits is 5")]
    [DataRow("--group-size", "17", "group_size is 17")]
    public void BadParameterIsNamed(string option, string value, string message)
    {
        using var folder = new TemporaryFolder();
        Tool.Run("rewrite", TestFiles.Stories260K, "-o", folder.File("out"), option, value).ShouldFail(1, message);
    }

    [TestMethod]
    public void WrongUsageIsSaidAtOnce()
    {
        using var folder = new TemporaryFolder();
        Tool.Run("rewrite", TestFiles.Stories260K, "-o", TestFiles.Stories260K).ShouldFail(2, "the output is the input itself");
        Tool.Run("rewrite", TestFiles.Stories260K).ShouldFail(2, "--output");
        Tool.Run("rewrite", TestFiles.Stories260K, "-o", folder.File("out"), "--scheme", "grup").ShouldFail(2, "--scheme is 'grup'", "group");
        Tool.Run("rewrite", TestFiles.Stories260K, "-o", folder.File("out"), "--exclude", "(").ShouldFail(2, "--exclude is no regular expression");
        Tool.Run("rewrite", TestFiles.Stories260K, "-o", folder.File("out"), "--plan", "p.json", "--bits", "4").ShouldFail(2, "--plan and --bits exclude each other");
        Tool.Run("rewrite", TestFiles.Stories260K, "-o", folder.File("out"), "--max-kl", "1").ShouldFail(2, "--max-kl needs --verify");
    }

    [TestMethod]
    public void LossPastTheUsersLimitFails()
    {
        using var folder = new TemporaryFolder();
        var result = Tool.Run("rewrite", TestFiles.Stories260K, "-o", folder.File("out"), "--bits", "2", "--quality", "fast", "--verify", "--max-kl", "0.01");
        Assert.AreEqual(1, result.ExitCode);
        Assert.Contains("is above --max-kl 0.01", result.Error);
    }

    [TestMethod]
    public void InspectCountsBits()
    {
        using var folder = new TemporaryFolder();
        var output = folder.File("out");
        Tool.Run("rewrite", TestFiles.Stories260K, "-o", output, "--bits", "8", "--symmetric").ShouldSucceed();
        var before = Tool.Run("inspect", TestFiles.Stories260K, "--json").ShouldSucceed().Json();
        var after = Tool.Run("inspect", output, "--json").ShouldSucceed().Json();
        Assert.AreEqual(37, before.GetProperty("weights").GetArrayLength());
        var head = after.GetProperty("weights").EnumerateArray().Single(weight => weight.GetProperty("n").GetInt64() == 512);
        Assert.AreEqual(2, head.GetProperty("nodes").GetArrayLength());
        Assert.AreEqual("8-bit g32", head.GetProperty("format").GetString());
        Assert.AreEqual(8.5, head.GetProperty("bits_per_weight").GetDouble());
        Assert.AreEqual(JsonValueKind.Object, after.GetProperty("ops").ValueKind);
        Assert.AreEqual(1, after.GetProperty("ops").GetProperty("ortquant::GatherNBits").GetInt32());
    }

    private static string Generate(string model, params string[] options) =>
        Tool.Run(["generate", model, "--prompt", Prompt, "--max-new-tokens", "60", "--json", .. options]).ShouldSucceed().Json()
            .GetProperty("text").GetString()!.Split(" She wanted")[0];
}
