using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.EndToEnd;

/// <summary>A real chat model of 135 million parameters, in the two forms that exporters write, through the tool.</summary>
[TestClass]
[TestCategory("SmolLM2")]
public sealed class SmolLM2Tests
{
    private const string Question = "What is the capital of France?";
    private static TemporaryFolder? _models;

    [ClassInitialize]
    public static void MakeModels(TestContext _)
    {
        if (TestFiles.FindOptional("models/smollm2-135m/make.py") is not { } script) return;
        _models = new TemporaryFolder();
        if (ProcessRunner.Run("/usr/bin/python3", [script, _models.Path]).ExitCode == 0) return;
        _models.Dispose();
        _models = null;
    }

    [ClassCleanup]
    public static void RemoveModels() => _models?.Dispose();

    [TestMethod]
    [DataRow("optimum")]
    [DataRow("genai")]
    public void DefaultIsSmallAndKeepsItsPerplexity(string form)
    {
        var tokens = TestFiles.Optional("text/wiki.test.smollm2.i32");
        using var folder = new TemporaryFolder();
        var output = folder.File(form);
        var result = Tool.Run("rewrite", Model(form), "-o", output, "--json").ShouldSucceed().Json();

        Assert.AreEqual(0, result.GetProperty("skipped").GetArrayLength());
        Assert.IsLessThanOrEqualTo(95_000_000, result.GetProperty("bytes_out").GetInt64(), "graph and external data");
        Assert.IsLessThanOrEqualTo(1_000_000_000, result.GetProperty("peak_anonymous_bytes").GetInt64());
        Assert.AreEqual(2048, result.GetProperty("calibration").GetProperty("tokens").GetInt64(), "text of its own");
        var perplexity = Tool.Run("perplexity", output, "--tokens", tokens, "--max-tokens", "8192", "--json").ShouldSucceed().Json();
        Assert.AreEqual(8176, perplexity.GetProperty("tokens").GetInt64());

        // The original has 36.0, round to nearest 46.0.
        Assert.IsLessThanOrEqualTo(42.5, perplexity.GetProperty("perplexity").GetDouble());
    }

    [TestMethod]
    [DataRow("optimum")]
    [DataRow("genai")]
    public void EightBitsAnswerAsTheOriginalDoes(string form)
    {
        using var folder = new TemporaryFolder();
        var output = folder.File(form);
        Tool.Run("rewrite", Model(form), "-o", output, "--bits", "8").ShouldSucceed();
        var answer = Tool.Run("generate", output, "--chat", "--prompt", Question, "--max-new-tokens", "12").ShouldSucceed();
        Assert.StartsWith("The capital of France is Paris.", answer.Output.Trim());
    }

    [TestMethod]
    [DataRow("optimum")]
    [DataRow("genai")]
    public void RoundedToNearestVerifiesAndTakesLittleMemory(string form)
    {
        using var folder = new TemporaryFolder();
        var result = Tool.Run("rewrite", Model(form), "-o", folder.File(form), "--quality", "fast", "--verify", "--json").ShouldSucceed().Json();
        Assert.IsLessThanOrEqualTo(300_000_000, result.GetProperty("peak_anonymous_bytes").GetInt64());
    }

    private static string Model(string form)
    {
        if (_models is null) Assert.Inconclusive("The optional model needs models/smollm2-135m/make.py in ORTQUANT_TEST_DATA, and Debian's python3-numpy to run it.");
        return Path.Combine(_models!.Path, form);
    }
}
