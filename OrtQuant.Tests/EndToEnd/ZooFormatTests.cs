using Microsoft.ML.OnnxRuntime;
using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.EndToEnd;

/// <summary>Small graphs of many exporters (optional test data): without the library, in com.microsoft's ops, adopted and turned back.</summary>
[TestClass]
[TestCategory("Zoo")]
public sealed class ZooFormatTests
{
    /// <summary>Each graph by its path in the data, or one entry that skips the tests where there is no data.</summary>
    public static IEnumerable<object[]> Models
    {
        get
        {
            var root = TestFiles.FindOptional("models/zoo");
            return root is null
                ? [["(no data)"]]
                : Directory.EnumerateFiles(root, "*.onnx", SearchOption.AllDirectories)
                    .Select(path => Path.GetRelativePath(root, path)).Order(StringComparer.Ordinal).Select(path => new object[] { path });
        }
    }

    [TestMethod]
    [DynamicData(nameof(Models))]
    public void EveryConstantMatrixIsPlannedOrListed(string model)
    {
        using var graph = OnnxModel.Load(Locate(model));
        var plan = QuantizationPlan.Create(graph);
        var known = plan.Weights.SelectMany(weight => weight.Consumers).Concat(plan.Skipped.Select(node => node.Name)).ToHashSet();
        foreach (var node in graph.AllGraphs.SelectMany(inner => inner.Nodes))
        {
            if (node.OpType is not ("MatMul" or "Gemm" or "MatMulNBits" or "MatMulInteger") || !node.Inputs.Any(IsConstantMatrix)) continue;
            Assert.Contains(node.DisplayName(), known);
        }

        Assert.IsTrue(plan.Skipped.All(node => node.Reason.Length > 0));
    }

    [TestMethod]
    [DynamicData(nameof(Models))]
    public void ItRunsWithoutTheLibraryWithTheSameResults(string model)
    {
        var path = Locate(model);
        using var folder = new TemporaryFolder();
        var rewritten = folder.File("model.onnx");
        Rewrite(path, rewritten, new PlanOptions { Bits = 4, GroupSize = 32, AccuracyLevel = 1 });

        var options = new ComparisonOptions { Reference = new SessionSettings { UseLibrary = false } };
        var result = ModelComparer.Compare(rewritten, rewritten, options);

        // Inputs, outputs and the past between the two steps are float16 in most: one unit of that is 1e-3.
        Assert.IsLessThanOrEqualTo(1e-3, result.RelativeL2);
    }

    [TestMethod]
    [DynamicData(nameof(Models))]
    public void MicrosoftOpsComputeTheSameAndNeedNoLibrary(string model)
    {
        var path = Locate(model);
        using var folder = new TemporaryFolder();
        var (own, other) = (folder.File("own", "model.onnx"), folder.File("other", "model.onnx"));
        Rewrite(path, own, new PlanOptions { AccuracyLevel = 1 });
        Rewrite(path, other, new PlanOptions { AccuracyLevel = 1, Emit = EmittedOps.Microsoft });

        using (var written = OnnxModel.Load(other))
        {
            Assert.IsFalse(written.AllGraphs.SelectMany(graph => graph.Nodes).Any(node => node.Domain == "ortquant"));
            Assert.AreEqual(0, written.Opset("ortquant"));
        }

        // What is adopted at another accuracy level stays at its own where nothing has to be written.
        if (model.StartsWith("genai", StringComparison.Ordinal) && model.Contains("int4")) return;
        var options = new ComparisonOptions { Model = new SessionSettings { UseLibrary = false, OptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_ALL } };
        Assert.IsLessThanOrEqualTo(1e-3, ModelComparer.Compare(own, other, options).RelativeL2);
    }

    [TestMethod]
    [DataRow("extra/llama-QDQ-int4-g32-sym.onnx", 15)]
    [DataRow("extra/llama-QOperator-int2-g32-asym.onnx", 15)]
    [DataRow("extra/llama-QOperator-int8-g64-asym.onnx", 15)]
    [DataRow("extra/llama-hqq-int4-g32-float-zp.onnx", 15)]
    [DataRow("genai/gemma-int4-cpu/model.onnx", 11)]
    [DataRow("genai/llama-int4-cpu/model.onnx", 11)]
    [DataRow("genai/llama-int4-cuda/model.onnx", 11)]
    public void QuantizedModelsAreAdoptedAndTurnedBack(string model, int weights)
    {
        var path = Locate(model);
        using var folder = new TemporaryFolder();
        var (own, back) = (folder.File("own", "model.onnx"), folder.File("back", "model.onnx"));
        var (plan, result) = Rewrite(path, own, new PlanOptions());

        Assert.HasCount(weights, plan.Weights);
        Assert.IsTrue(plan.Weights.All(weight => weight.Algorithm == PlannedWeight.Adopt));
        Assert.IsTrue(result.Nodes.All(node => node.RelativeError is null));
        Assert.IsLessThan(5, result.Seconds);

        // Through the function bodies the same op computes with the same numbers as before (a float16 graph in float32 afterwards). The kernels round activations next to a tie
        // the other way now and then, which costs up to the int8 level's own error.
        var limit = model.Contains("cuda") ? 2e-3 : 1e-6;
        var withoutLibrary = new ComparisonOptions { Model = new SessionSettings { UseLibrary = false } };
        Assert.IsLessThanOrEqualTo(limit, ModelComparer.Compare(path, own, withoutLibrary).RelativeL2, "adopted");
        Assert.IsLessThanOrEqualTo(2e-2, ModelComparer.Compare(path, own, new ComparisonOptions()).RelativeL2, "adopted, kernels");

        Rewrite(own, back, new PlanOptions { Emit = EmittedOps.Microsoft });
        Assert.IsLessThanOrEqualTo(limit, ModelComparer.Compare(path, back, withoutLibrary).RelativeL2, "turned back");
    }

    private static (QuantizationPlan Plan, RewriteResult Result) Rewrite(string path, string output, PlanOptions options)
    {
        using var model = OnnxModel.Load(path);
        var plan = QuantizationPlan.Create(model, options);
        if (Path.Combine(model.Directory!, "genai_config.json") is var configuration && File.Exists(configuration))
        {
            File.Copy(configuration, Path.Combine(Path.GetDirectoryName(output)!, "genai_config.json"));
        }

        return (plan, ModelRewriter.Rewrite(model, plan, output));
    }

    // Not the rewriter's own tracing: straight constants, and what a few view ops make of them.
    private static bool IsConstantMatrix(OnnxValue? value) => value switch
    {
        null => false,
        { Constant: { } tensor } => tensor.Shape.Count >= 2,
        { Producer: { OpType: "Transpose" or "Cast" or "Identity" or "DequantizeLinear" } producer } => IsConstantMatrix(producer.Inputs[0]),
        _ => false,
    };

    private static string Locate(string model)
    {
        var path = TestFiles.Optional("models/zoo");
        return Path.Combine(path, model);
    }
}
