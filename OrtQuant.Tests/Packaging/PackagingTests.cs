using OrtQuant.GraphRewriter.Running;
using OrtQuant.ModelGenerator;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Packaging;

/// <summary>The packages as a user meets them: packed into a folder, restored and installed from there.</summary>
[TestClass]
[TestCategory("Packaging")]
public sealed class PackagingTests
{
    private static TemporaryFolder _folder = null!;

    private static string Feed => Path.Combine(_folder.Path, "feed");

    [ClassInitialize]
    public static void Pack(TestContext context)
    {
        _folder = new TemporaryFolder();
        foreach (var project in new[] { "OrtQuant.Ops", "OrtQuant.GraphRewriter" })
        {
            Dotnet("pack", Path.Combine(TestFiles.Root, project), "--no-build", "-c", ConsoleProject.Metadata("Configuration"), "-o", Feed);
        }
    }

    [ClassCleanup]
    public static void Delete() => _folder.Dispose();

    [TestMethod]
    public void EmptyProjectRunsTheReadmesLines()
    {
        Tool("rewrite", TestFiles.Stories260K, "-o", _folder.File("app", "q4"), "--quality", "fast");
        var program = ReadmeSnippet().Replace("model.q4.onnx", "q4/model.onnx", StringComparison.Ordinal) + """

            Console.WriteLine($"{OrtQuantRuntime.Version} runs {string.Join(' ', session.OutputNames)}");
            """;

        ConsoleProject.Build(
            Path.Combine(_folder.Path, "app"),
            program,
            [("OrtQuant.Ops", ConsoleProject.Metadata("Version")), ("Microsoft.ML.OnnxRuntime.Gpu", ConsoleProject.Metadata("OnnxRuntimeVersion"))],
            Feed).ShouldSucceed();
        var result = ConsoleProject.Run(Path.Combine(_folder.Path, "app")).ShouldSucceed();

        Assert.StartsWith($"{ConsoleProject.Metadata("Version")} runs logits", result.Output);
    }

    [TestMethod]
    public void ToolInstallsAndRewrites()
    {
        var tools = Path.Combine(_folder.Path, "tools");
        Dotnet("tool", "install", "ortquant", "--tool-path", tools, "--version", ConsoleProject.Metadata("Version"), "--add-source", Feed);

        var ortquant = Path.Combine(tools, "ortquant");
        var version = ProcessRunner.Run(ortquant, ["--version"]).ShouldSucceed();
        ProcessRunner.Run(ortquant, ["rewrite", TestFiles.Stories260K, "-o", _folder.File("rewritten"), "--verify"]).ShouldSucceed();

        Assert.AreEqual(ConsoleProject.Metadata("Version"), version.Output.Trim());
        Assert.IsTrue(File.Exists(_folder.File("rewritten", "model.onnx")));
    }

    /// <summary>onnxruntime-genai decodes a rewritten model with our kernels, to the same tokens as we do.</summary>
    [TestMethod]
    public void GenaiGeneratesFromARewrittenFolder()
    {
        const string Program = """
            using Microsoft.ML.OnnxRuntimeGenAI;
            using var model = new Model(args[0]);
            using var options = new GeneratorParams(model);
            options.SetSearchOption("max_length", 24);
            using var generator = new Generator(model, options);
            generator.AppendTokens([1, 17, 42, 5]);
            while (!generator.IsDone()) generator.GenerateNextToken();
            Console.WriteLine(string.Join(' ', generator.GetSequence(0).ToArray()));
            Console.WriteLine(File.ReadAllText("/proc/self/maps").Contains("libortquant") ? "with the library" : "without the library");
            """;
        var project = Path.Combine(_folder.Path, "genai");
        var genai = ("Microsoft.ML.OnnxRuntimeGenAI", ConsoleProject.Metadata("OnnxRuntimeGenAIVersion"));
        var build = ConsoleProject.Build(project, Program, [genai, ("Microsoft.ML.OnnxRuntime.Gpu", ConsoleProject.Metadata("OnnxRuntimeVersion"))]);
        if (build.Output.Contains("NU1101", StringComparison.Ordinal) || build.Output.Contains("NU1102", StringComparison.Ordinal))
        {
            Assert.Inconclusive("No NuGet source here has Microsoft.ML.OnnxRuntimeGenAI; eng/setup.sh genai puts it into the local feed.");
        }

        build.ShouldSucceed();
        var shape = new LlamaShape(
            Layers: 2, Hidden: 128, FeedForward: 352, Heads: 4, KeyValueHeads: 2, Vocabulary: 300, Positions: 64, Tied: true);
        ModelFiles.Write(_folder.File("fp16"), shape, GraphForm.Genai, seed: 5);
        var rewritten = Tool("rewrite", _folder.File("fp16"), "-o", _folder.File("q4"), "--quality", "fast").Output;

        var output = ConsoleProject.Run(project, _folder.File("q4")).ShouldSucceed().Output.Trim().Split('\n');

        CollectionAssert.AreEqual(new[] { Greedy(_folder.File("q4", "model.onnx"), [1, 17, 42, 5], 24), "with the library" }, output, rewritten);
    }

    private static string Greedy(string model, List<long> tokens, int length)
    {
        using var language = LanguageModel.Open(model, new SessionSettings());
        using var state = language.Start(batch: 1, capacity: length);
        var sampler = new Sampler(temperature: 0, seed: 0);
        var pending = tokens.ToArray();
        while (tokens.Count < length)
        {
            using var logits = state.Append(pending);
            var scores = new float[logits.Vocabulary];
            logits.ReadRow(logits.Rows - 1, scores);
            pending = [sampler.Next(scores)];
            tokens.Add(pending[0]);
        }

        return string.Join(' ', tokens);
    }

    /// <summary>The first C# block of README.md.</summary>
    private static string ReadmeSnippet()
    {
        const string Fence = "```csharp\n";
        var readme = File.ReadAllText(Path.Combine(TestFiles.Root, "README.md"));
        var begin = readme.IndexOf(Fence, StringComparison.Ordinal) + Fence.Length;
        return readme[begin..readme.IndexOf("```", begin, StringComparison.Ordinal)];
    }

    private static ProcessResult Tool(params string[] arguments) =>
        ProcessRunner.Run("dotnet", [typeof(LanguageModel).Assembly.Location, .. arguments], Path.Combine(_folder.Path)).ShouldSucceed();

    private static void Dotnet(params string[] arguments) => ProcessRunner.Run("dotnet", arguments, _folder.Path).ShouldSucceed();
}
