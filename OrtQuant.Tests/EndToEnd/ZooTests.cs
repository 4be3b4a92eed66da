using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Matching;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.EndToEnd;

/// <summary>Small graphs straight from the exporters that people use, at 8 bits.</summary>
[TestClass]
public sealed class ZooTests
{
    private const double LossOfEightBits = 0.04;
    private const double FloatLevel = 1e-5;

    public static IEnumerable<object[]> Graphs()
    {
        var folder = Path.Combine(Environment.GetEnvironmentVariable("ORTQUANT_TEST_DATA") ?? Path.Combine(TestFiles.Root, "..", "shared"), "models", "zoo");
        var manifest = Path.Combine(folder, "manifest.json");
        if (!File.Exists(manifest)) return [["llama-fp16"]];
        return [.. ((JsonArray)JsonNode.Parse(File.ReadAllText(manifest))!).Select(entry => new object[] { entry!["file"]!.GetValue<string>() })];
    }

    [TestMethod]
    [DynamicData(nameof(Graphs))]
    public void EightBitsOpenRunAndStayClose(string file)
    {
        var source = TestFiles.Optional($"models/zoo/{file}");
        using var folder = new TemporaryFolder();
        var output = folder.File("model.onnx");
        using (var model = OnnxModel.Load(source))
        {
            var plan = QuantizationPlan.Create(model, new PlanOptions { Bits = 8, AccuracyLevel = 1 });
            if (plan.Weights.Count == 0) return;

            ModelRewriter.Rewrite(model, plan, output);
            using var rewritten = OnnxModel.Load(output);
            Assert.AreEqual(plan.Skipped.Count(node => node.Op is "MatMul" or "Gemm"), Remaining(rewritten), "a matrix product was neither packed nor listed");
        }

        // The configuration beside a graph says what its symbolic sizes are.
        foreach (var beside in Directory.GetFiles(Path.GetDirectoryName(source)!, "*.json")) File.Copy(beside, folder.File(Path.GetFileName(beside)), overwrite: true);
        var library = new SessionSettings();
        var verification = RewriteVerifier.Verify(source, output, new ComparisonOptions { Reference = library, Model = library });
        Assert.HasCount(1, verification.Kernels);
        Assert.IsLessThanOrEqualTo(FloatLevel, verification.Kernels[0].RelativeL2, "each kernel against its function body");
        Assert.IsLessThanOrEqualTo(FloatLevel, verification.WholeGraph!.Value, "the graph with kernels against the graph with function bodies, past and all");
        var loss = ModelComparer.Compare(source, output, new ComparisonOptions { Reference = library, Model = library });
        Assert.IsLessThanOrEqualTo(LossOfEightBits, loss.RelativeL2, "against the original");
    }

    private static int Remaining(OnnxModel model)
    {
        var matched = WeightMatcher.Match(model);
        return matched.Weights.Where(weight => weight.Matrix.Quantized is null).Sum(weight => weight.Linears.Count) + matched.Skipped.Count(node => node.Op is "MatMul" or "Gemm");
    }
}
