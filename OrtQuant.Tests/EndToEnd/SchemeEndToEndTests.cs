using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.Schemes;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.EndToEnd;

/// <summary>Whole graphs through every scheme of the catalog, with its defaults.</summary>
[TestClass]
public sealed class SchemeEndToEndTests
{
    public static IEnumerable<object[]> Schemes => SchemeCatalog.All.Select(scheme => new object[] { scheme.Name });

    /// <summary>Graphs of the zoo times schemes; one entry that skips the test where there is no data.</summary>
    public static IEnumerable<object[]> Zoo =>
        from model in ZooFormatTests.Models
        from scheme in SchemeCatalog.All
        where scheme.HeadScheme != scheme
        select new[] { model[0], scheme.Name };

    [TestMethod]
    [DynamicData(nameof(Schemes))]
    public void TheBundledModelIsRewrittenAndVerified(string scheme)
    {
        using var folder = new TemporaryFolder();
        var result = Tool.Run("rewrite", TestFiles.Stories260K, "-o", folder.File("out"), "--scheme", scheme, "--quality", "fast", "--verify", "--json").ShouldSucceed().Json();

        Assert.AreEqual(0, result.GetProperty("skipped").GetArrayLength());
        Assert.IsTrue(result.GetProperty("compare").GetProperty("kernels").EnumerateArray().All(check => check.GetProperty("passed").GetBoolean()));
    }

    [TestMethod]
    [DynamicData(nameof(Zoo))]
    [TestCategory("Zoo")]
    public void EveryGraphOpensRunsAndAgreesWithItsFunctionBodies(string file, string scheme)
    {
        var source = Path.Combine(TestFiles.Optional("models/zoo"), file);
        using var folder = new TemporaryFolder();
        var output = folder.File("model.onnx");
        foreach (var beside in Directory.GetFiles(Path.GetDirectoryName(source)!, "*.json")) File.Copy(beside, folder.File(Path.GetFileName(beside)));
        using (var model = OnnxModel.Load(source))
        {
            var plan = QuantizationPlan.Create(model, new PlanOptions { Scheme = scheme });
            Assert.IsTrue(plan.Weights.Count > 0 || plan.Skipped.All(node => node.Reason.Length > 0), "what is not packed has a reason");
            if (plan.Weights.Count == 0) return;

            ModelRewriter.Rewrite(model, plan, output);
        }

        var library = new SessionSettings();
        var verification = RewriteVerifier.Verify(source, output, new ComparisonOptions { Reference = library, Model = library });
        foreach (var check in verification.Kernels) Assert.IsTrue(check.Passed, $"{check}");
        Assert.IsTrue(verification.Loss.IsFinite);
    }
}
