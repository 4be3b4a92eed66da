using OrtQuant.GraphRewriter.Cli;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Cli;

/// <summary>The command line without a process: parsing, exit codes, streams.</summary>
[TestClass]
public sealed class CommandLineTests
{
    [TestMethod]
    [DataRow("rewrite-not-a-verb", "rewrite-not-a-verb")]
    [DataRow("compare", "REF")]
    [DataRow("perplexity no-such-model --tokens no-such-file", "no-such-file")]
    [DataRow("generate no-such-model --prompt x", "no-such-model")]
    [DataRow("generate no-such-model", "--prompt")]
    [DataRow("generate model --prompt x --max-new-tokens 0", "at least 1")]
    [DataRow("generate model --prompt x --temperature -1", "--temperature is -1")]
    [DataRow("perplexity model --context 1 --tokens f", "--context is 1")]
    [DataRow("perplexity model --context many --tokens f", "many")]
    [DataRow("perplexity model", "--text")]
    [DataRow("perplexity model --text f --tokens g --tokenizer d", "exclude")]
    [DataRow("perplexity model --text f", "--tokenizer")]
    [DataRow("perplexity model --tokens f --separator x", "--separator")]
    [DataRow("compare a b --max-kl -1", "--max-kl is -1")]
    [DataRow("plan model --max-bytes much", "--max-bytes is 'much'")]
    [DataRow("plan model --bits 4 --max-bytes 9MB", "leaves --max-bytes nothing")]
    [DataRow("plan model --sensitivity measured", "needs a budget")]
    [DataRow("plan model --bits 4.5 --sensitivity none", "weights, measured")]
    [DataRow("plan model --bits -1.5", "--bits is -1.5")]
    [DataRow("recommend model --max-loss much", "--max-loss is 'much'")]
    [DataRow("recommend model --max-bytes -3MB", "--max-bytes is '-3MB'")]
    [DataRow("recommend no-such-model", "no-such-model")]
    [DataRow("evaluate reference", "MODEL")]
    [DataRow("evaluate . nowhere", ".onnx")]
    [DataRow("evaluate reference model --text f", "--tokenizer")]
    [DataRow("rewrite m -o o --quality great", "--quality is 'great'")]
    [DataRow("rewrite m -o o --quality fast --algorithm rtn", "--quality and --algorithm exclude each other")]
    [DataRow("rewrite m -o o --quality fast --calibration f", "--calibration does not go with algorithm 'rtn'")]
    [DataRow("rewrite m -o o --quality fast --save-stats f", "--save-stats does not go with algorithm 'rtn'")]
    [DataRow("rewrite m -o o --algorithm rtn --save-stats f", "--save-stats does not go with algorithm 'rtn'")]
    [DataRow("rewrite m -o o --calibration f --stats g", "--calibration and --stats exclude each other")]
    [DataRow("rewrite m -o o --stats f --save-stats g", "--stats and --save-stats exclude each other")]
    [DataRow("plan m --calibration-tokens no-such-file", "no-such-file")]
    [DataRow("bench", "command")]
    [DataRow("bench model", "MODEL")]
    [DataRow("bench ops --isa sse", "--isa is sse")]
    [DataRow("bench ops --bits 5", "--bits has '5'")]
    [DataRow("bench ops --shape 10", "--shape has '10'")]
    [DataRow("bench ops --zero-points some", "none, integer, float")]
    public async Task BadUsageIsOneLineAndExitCodeTwo(string arguments, string word)
    {
        var result = await RunAsync(arguments.Split(' '));

        result.ShouldFail(ExitCode.Usage, word);
        Assert.HasCount(1, result.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }

    [TestMethod]
    public async Task ErrorsAreJsonToo()
    {
        var result = await RunAsync("generate", "no-such-model", "--prompt", "x", "--json");

        Assert.AreEqual(ExitCode.Usage, result.ExitCode);
        Assert.Contains("no-such-model", result.Json().GetProperty("error").GetString()!);
    }

    [TestMethod]
    public async Task UsageErrorsAreJsonToo()
    {
        var result = await RunAsync("compare", "--json");

        Assert.AreEqual(ExitCode.Usage, result.ExitCode);
        Assert.IsNotEmpty(result.Json().GetProperty("error").GetString()!);
    }

    [TestMethod]
    public async Task FolderWithTwoModelsNamesThem()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.File("b.onnx"), "");
        File.WriteAllText(folder.File("a.onnx"), "");

        (await RunAsync("generate", folder.Path, "--prompt", "x")).ShouldFail(ExitCode.Usage, "a.onnx, b.onnx");
        File.WriteAllText(folder.File("genai_config.json"), """{"model": {"decoder": {"filename": "b.onnx"}}}""");
        Assert.AreEqual(folder.File("b.onnx"), ModelPath.Resolve(folder.Path).File);
    }

    [TestMethod]
    public async Task FolderWithoutAModelIsNamed()
    {
        using var folder = new TemporaryFolder();

        (await RunAsync("generate", folder.Path, "--prompt", "x")).ShouldFail(ExitCode.Usage, folder.Path);
    }

    [TestMethod]
    public async Task FileThatIsNoModelFails()
    {
        using var folder = new TemporaryFolder();
        var random = new byte[1000];
        new Random(1).NextBytes(random);
        File.WriteAllBytes(folder.File("model.onnx"), random);
        File.WriteAllBytes(folder.File("tokens"), new byte[64]);

        (await RunAsync("perplexity", folder.Path, "--tokens", folder.File("tokens"))).ShouldFail(ExitCode.Failed, "model.onnx");
        (await RunAsync("compare", folder.Path, folder.Path)).ShouldFail(ExitCode.Failed, "model.onnx");
    }

    [TestMethod]
    public async Task EveryVerbHasHelpWithExamples()
    {
        foreach (var verb in (string[][])[["compare"], ["perplexity"], ["generate"], ["bench", "model"], ["bench", "ops"]])
        {
            var result = await RunAsync([.. verb, "--help"]);

            Assert.AreEqual(ExitCode.Ok, result.ExitCode);
            Assert.Contains($"ortquant {string.Join(' ', verb)} ", result.Output[result.Output.IndexOf("Examples:", StringComparison.Ordinal)..]);
            Assert.AreEqual("", result.Error);
        }
    }

    [TestMethod]
    public async Task CompareJudgesByTheLimitThatIsGiven()
    {
        using var folder = new TemporaryFolder();
        var reference = TableModel.Write(folder.File("reference.onnx"), TableModel.Random(4, seed: 1));
        var model = TableModel.Write(folder.File("model.onnx"), TableModel.Random(4, seed: 2));

        var free = await RunAsync("compare", reference, model, "--json");
        Assert.AreEqual(ExitCode.Ok, free.ExitCode);
        var mean = free.Json().GetProperty("kl_mean").GetDouble();

        Assert.AreEqual(ExitCode.Ok, (await RunAsync("compare", reference, model, "--max-kl", $"{2 * mean}")).ExitCode);
        var limited = await RunAsync("compare", reference, model, "--json", "--max-kl", $"{mean / 2}");
        Assert.AreEqual(ExitCode.Failed, limited.ExitCode);
        Assert.AreEqual(mean, limited.Json().GetProperty("kl_mean").GetDouble());
        Assert.Contains("--max-kl", limited.Error);
    }

    [TestMethod]
    public async Task CompareFailsOnNotANumber()
    {
        using var folder = new TemporaryFolder();
        var table = TableModel.Random(4, seed: 1);
        var reference = TableModel.Write(folder.File("reference.onnx"), table);
        for (var row = 0; row < 4; row++)
        {
            table[row, 0] = float.NaN;
        }

        var result = await RunAsync("compare", reference, TableModel.Write(folder.File("model.onnx"), table), "--json");

        Assert.AreEqual(ExitCode.Failed, result.ExitCode);
        Assert.AreEqual(System.Text.Json.JsonValueKind.Null, result.Json().GetProperty("relative_l2").ValueKind);
    }

    [TestMethod]
    public async Task CancelledVerbFails()
    {
        using var folder = new TemporaryFolder();
        var model = TableModel.Write(folder.File("model.onnx"), new float[4, 4]);
        File.WriteAllBytes(folder.File("tokens"), new byte[64]);
        using var output = new StringWriter();
        using var error = new StringWriter();

        var code = await CommandLine.RunAsync(["perplexity", model, "--tokens", folder.File("tokens")], output, error, new CancellationToken(canceled: true));

        Assert.AreEqual(ExitCode.Failed, code);
        Assert.Contains("cancelled", error.ToString());
        Assert.AreEqual("", output.ToString());
    }

    private static async Task<ProcessResult> RunAsync(params string[] arguments)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        var code = await CommandLine.RunAsync(arguments, output, error, CancellationToken.None);
        return new ProcessResult(code, output.ToString(), error.ToString());
    }
}
