using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Transforms;
using OrtQuant.Schemes.Group;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Planning;

[TestClass]
public sealed class PlanTests
{
    private const ElementType Half = ElementType.Float16;

    [TestMethod]
    public void AFunctionThatCannotBeInlinedIsListedWithItsReason()
    {
        using var folder = new TemporaryFolder();
        using var model = GraphFixtures.ModelLocalFunction().Load(folder.Path);
        model.Edit(proto => proto.Functions[0].OpsetImport[0].Version = 17);

        var plan = QuantizationPlan.Create(model, new PlanOptions());

        Assert.IsEmpty(plan.Weights);
        var skipped = Assert.ContainsSingle(plan.Skipped);
        Assert.AreEqual("Linear", skipped.Name);
        Assert.Contains("version 17 of ai.onnx and the model version 18", skipped.Reason);
    }

    [TestMethod]
    [DataRow(13, EmittedOps.OrtQuant, true)]
    [DataRow(14, EmittedOps.OrtQuant, false)]
    [DataRow(13, EmittedOps.Microsoft, false)]
    public void AnOpsetWithoutFunctionBodiesIsSaid(int opset, EmittedOps emit, bool isSaid)
    {
        var builder = new ModelBuilder(opset).Input("x", Half, "n", 64).Weight("w", Half, 1, 64, 64).Node("MatMul", ["x", "w"], ["y"]).Output("y", Half, "n", 64);
        using var model = OnnxModel.FromProto(builder.Proto);
        Assert.AreEqual(isSaid, QuantizationPlan.Create(model, new PlanOptions { Emit = emit }).Weights.Single().Why.Contains("opset 13 has no function body", StringComparison.Ordinal));
    }

    [TestMethod]
    [DataRow(8, true)]
    [DataRow(4, false)]
    public void AWeightThatOneTensorCannotHoldIsListed(int bits, bool isTooLarge)
    {
        // 2^31 weights in a file without contents, which takes no room.
        using var folder = new TemporaryFolder();
        const long N = 1 << 18, K = 1 << 13;
        using (var data = File.Create(folder.File("weights.data"))) data.SetLength(2 * N * K);
        var weight = new Onnx.TensorProto { Name = "w", DataType = (int)Half, Dims = { K, N }, DataLocation = Onnx.TensorProto.Types.DataLocation.External };
        weight.ExternalData.Add(new Onnx.StringStringEntryProto { Key = "location", Value = "weights.data" });
        var builder = new ModelBuilder().Input("x", Half, "n", K).Initializer(weight).Node("MatMul", ["x", "w"], ["y"]).Node("Relu", ["y"], ["z"]).Output("z", Half, "n", N);
        using var model = builder.Load(folder.Path);

        var plan = QuantizationPlan.Create(model, new PlanOptions { Bits = bits, HeadBits = bits });

        Assert.AreEqual(isTooLarge ? "2147483648 bytes packed in one tensor" : "", string.Concat(plan.Skipped.Select(node => node.Reason.Split(": ")[1].Split(',')[0])));
        Assert.HasCount(isTooLarge ? 0 : 1, plan.Weights);
    }

    [TestMethod]
    public void MergedWeightsThatExportersNumberedAreNamedByTheirNodes()
    {
        var builder = new ModelBuilder().Input("x", Half, "n", 64).Weight("onnx::MatMul_1", Half, 1, 64, 64).Weight("onnx::MatMul_2", Half, 2, 64, 64)
            .Node("MatMul", ["x", "onnx::MatMul_1"], ["q"]).Node("MatMul", ["x", "onnx::MatMul_2"], ["k"]).Node("Add", ["q", "k"], ["y"]).Output("y", Half, "n", 64);
        using var model = OnnxModel.FromProto(builder.Proto);
        using var text = new StringWriter();
        PlanReport.Write(QuantizationPlan.Create(model), text);
        Assert.Contains("merge-linears: /q/MatMul + /k/MatMul read the same input", text.ToString());
    }

    [TestMethod]
    public void PlanOfASmallDecoderReadsAsExpected()
    {
        var plan = Plan();
        using var text = new StringWriter { NewLine = "\n" };
        PlanReport.Write(plan, text);
        Assert.AreEqual(
            """
            Transforms, in this order
              share-embedding: embedding embed holds the same values as head: one packed copy for both
              merge-linears: q + k read the same input: one packed weight, then Split

            weight  read by                      N   K  bits/weight  accuracy  algorithm  why
            ------  -------------------------  ---  --  -----------  --------  ---------  -----------------------------------------------
            q       /q_out/MatMul               64  64         4.63  int8      rtn        4-bit g32, integer zero points
            k       /k_out/MatMul               64  64         4.63  int8      rtn        4-bit g32, integer zero points
            o       /o_out/MatMul               64  64         4.63  int8      rtn        4-bit g32, integer zero points
            head    /logits/MatMul and 1 more  160  64         8.50  int8      rtn        head and embedding in one: 8-bit g32, symmetric

            Left alone
              MatMul /tiny/MatMul: weight [4, 64] is too small: 1088 bytes packed, 512 as it is

            4 weights, 0.02 million values: 6.39 bits per weight, 0.02 MB; 1 node left alone.

            """.ReplaceLineEndings("\n"),
            text.ToString());
    }

    [TestMethod]
    public void JsonRoundTrips()
    {
        var plan = Plan(new PlanOptions { Bits = 3, GroupSize = 64, AccuracyLevel = 1, Target = RewriteTarget.Cuda });
        var json = plan.ToJson().ToJsonString();
        var again = QuantizationPlan.FromJson((JsonObject)JsonNode.Parse(json)!);
        Assert.AreEqual(json, again.ToJson().ToJsonString());
        Assert.AreEqual(new GroupParameters(3, 64), again.Weights[0].Parameters);
        Assert.AreEqual(RewriteTarget.Cuda, again.Target);
        CollectionAssert.AreEqual(plan.Transforms.ToArray(), again.Transforms.ToArray());
    }

    [TestMethod]
    public void ExcludeNamesWeightsOrNodes()
    {
        Assert.AreEqual("excluded by '^/o_'", Reason(Plan(new PlanOptions { Exclude = new Regex("^/o_") }), "/o_out/MatMul"));
        Assert.AreEqual("excluded by '^o$'", Reason(Plan(new PlanOptions { Exclude = new Regex("^o$") }), "/o_out/MatMul"));
    }

    [TestMethod]
    public void OnlyLeavesTheRest()
    {
        var plan = Plan(new PlanOptions { Only = new Regex("^q$") });
        CollectionAssert.AreEqual(new[] { "q" }, plan.Weights.Select(weight => weight.Name).ToArray());
        Assert.AreEqual("not among '^q$'", Reason(plan, "/k_out/MatMul"));
        Assert.AreEqual(0, plan.Transforms.Count);
    }

    [TestMethod]
    public void DifferentBitsAreNotMerged()
    {
        var plan = Plan();
        var edited = plan with { Weights = [.. plan.Weights.Select(weight => weight.Name == "k" ? weight with { Parameters = new GroupParameters(8) } : weight)] };
        var error = Assert.ThrowsExactly<PlanException>(() => QuantizationPlan.FromJson(edited.ToJson()));
        StringAssert.Contains(error.Message, "merge-linears joins 'q'", StringComparison.Ordinal);
    }

    [TestMethod]
    public void EightBitsAreSymmetricAndComputedInFloat()
    {
        var plan = Plan(new PlanOptions { Bits = 8 });
        Assert.IsTrue(plan.Weights.All(weight => weight.Parameters.Equals(new GroupParameters(8, 32, ZeroPointKind.None)) && weight.AccuracyLevel == 1));
        Assert.IsTrue(Plan(new PlanOptions { Bits = 8, AccuracyLevel = 4 }).Weights.All(weight => weight.AccuracyLevel == 4));
    }

    [TestMethod]
    public void NoMergeKeepsLinearsApart() => Assert.IsFalse(Plan(new PlanOptions { Merge = false }).Transforms.OfType<MergeLinears>().Any());

    [TestMethod]
    public void EmbeddingKeepLeavesTheTable()
    {
        var plan = Plan(new PlanOptions { Embedding = EmbeddingChoice.Keep });
        CollectionAssert.AreEqual(new[] { "/logits/MatMul" }, plan.Weights.Single(weight => weight.Name == "head").Consumers.ToArray());
        Assert.IsFalse(plan.Transforms.OfType<ShareEmbedding>().Any());
    }

    [TestMethod]
    [DataRow("""{"weights": []}""", "ortquant_plan is missing: this is no plan")]
    [DataRow("""{"ortquant_plan": 2, "weights": []}""", "ortquant_plan is 2; it must be 1")]
    [DataRow("""{"ortquant_plan": 1}""", "weights is missing")]
    [DataRow("""{"ortquant_plan": 1, "weights": 3}""", "weights is 3; it must be a list")]
    [DataRow("""{"ortquant_plan": 1, "weights": [], "wieghts": []}""", "wieghts is not known; the members here are emit, ortquant_plan, skipped, target, transforms, weights")]
    [DataRow("""{"ortquant_plan": 1, "target": "tpu", "weights": []}""", "target is 'tpu'; it must be one of cpu, cuda")]
    [DataRow("""{"ortquant_plan": 1, "transforms": [{"transform": "magic"}], "weights": []}""", "transforms[0].transform is 'magic'; it must be one of inline-functions, simplify-shapes, fuse-attention, merge-adapter, float32-activations, fuse-norms, rotate-inputs, share-embedding, attach-adapter, merge-linears")]
    [DataRow("""{"ortquant_plan": 1, "transforms": [{"transform": "merge-linears", "weights": ["a", "b"]}], "weights": []}""", "merge-linears names weight 'a', which has no entry in the plan")]
    [DataRow("""{"ortquant_plan": 1, "weights": [{"name": "q", "nodes": [], "scheme": "grup", "parameters": {}}]}""", "weights[0] ('q'): scheme is 'grup'; it must be one of group")]
    [DataRow("""{"ortquant_plan": 1, "weights": [{"name": "q", "nodes": [], "scheme": "group", "parameters": {"bits": 5}}]}""", "weights[0] ('q'): bits is 5")]
    [DataRow("""{"ortquant_plan": 1, "weights": [{"name": "q", "nodes": [], "scheme": "group", "parameters": {}, "accuracy_level": 3}]}""", "weights[0].accuracy_level is 3; it must be 0, 1 or 4")]
    [DataRow("""{"ortquant_plan": 1, "weights": [{"name": "q", "nodes": [], "scheme": "group", "parameters": {}, "algorithm": "magic"}]}""", "weights[0] ('q'): algorithm is 'magic'")]
    public void BadPlanIsNamed(string json, string message)
    {
        var error = Assert.ThrowsExactly<PlanException>(() => QuantizationPlan.FromJson((JsonObject)JsonNode.Parse(json)!));
        StringAssert.StartsWith(error.Message, message, StringComparison.Ordinal);
    }

    [TestMethod]
    public void PlanForAnotherModelIsRefused()
    {
        using var folder = new TemporaryFolder();
        using var model = Decoder().Load(folder.Path);
        var plan = QuantizationPlan.Create(model);
        AssertRefused("the plan names weight 'o_proj', which the model does not have", weight => weight with { Name = "o_proj" });
        AssertRefused("the plan names weight 'oo', which the model does not have; did you mean 'o'?", weight => weight with { Name = "oo" });
        AssertRefused("weight 'o' is [32, 64] in the plan and [64, 64] in the model; the plan is for another model", weight => weight with { Shape = new(32, 64) });
        AssertRefused("weight 'o' is not read by node 'x', as the plan has it; it is read by /o_out/MatMul", weight => weight with { Consumers = ["x"] });

        void AssertRefused(string message, Func<PlannedWeight, PlannedWeight> edit)
        {
            var edited = plan with { Weights = [.. plan.Weights.Select(weight => weight.Name == "o" ? edit(weight) : weight)] };
            Assert.AreEqual(message, Assert.ThrowsExactly<PlanException>(() => edited.CheckAgainst(model)).Message);
        }
    }

    [TestMethod]
    [DataRow("grup", 4, "scheme is 'grup'")]
    [DataRow("group", 5, "bits is 5")]
    public void BadOptionIsNamed(string scheme, int bits, string message)
    {
        var error = Assert.ThrowsExactly<PlanException>(() => Plan(new PlanOptions { Scheme = scheme, Bits = bits }));
        StringAssert.StartsWith(error.Message, message, StringComparison.Ordinal);
    }

    /// <summary>Embedding, q and k on one input, an output projection, a head that is a transposed copy of the embedding, and a matrix too small.</summary>
    internal static ModelBuilder Decoder()
    {
        var embedding = ModelBuilder.Random("embed", Half, 1, 160, 64);
        var head = ModelBuilder.Random("head", Half, 1, 160, 64);
        var halves = head.RawData.ToByteArray();
        var transposed = new byte[halves.Length];
        for (var n = 0; n < 160; n++)
        {
            for (var k = 0; k < 64; k++) halves.AsSpan(2 * ((n * 64) + k), 2).CopyTo(transposed.AsSpan(2 * ((k * 160) + n)));
        }

        head.Dims.Clear();
        head.Dims.Add([64, 160]);
        head.RawData = Google.Protobuf.ByteString.CopyFrom(transposed);
        return new ModelBuilder().Input("ids", ElementType.Int64, "b", "s").Output("logits", Half, "b", "s", 160).Output("tiny", Half, "b", "s", 4)
            .Initializer(embedding).Initializer(head)
            .Weight("q", Half, 2, 64, 64).Weight("k", Half, 3, 64, 64).Weight("o", Half, 4, 64, 64).Weight("t", Half, 5, 64, 4)
            .Node("Gather", ["embed", "ids"], ["x"])
            .Node("MatMul", ["x", "q"], ["q_out"]).Node("MatMul", ["x", "k"], ["k_out"]).Node("Mul", ["q_out", "k_out"], ["a"])
            .Node("MatMul", ["a", "o"], ["o_out"]).Node("Add", ["x", "o_out"], ["r"])
            .Node("MatMul", ["r", "head"], ["logits"]).Node("MatMul", ["r", "t"], ["tiny"]);
    }

    private static QuantizationPlan Plan(PlanOptions? options = null)
    {
        using var folder = new TemporaryFolder();
        using var model = Decoder().Load(folder.Path);
        return QuantizationPlan.Create(model, (options ?? new PlanOptions()) with { Activations = ActivationType.Keep });
    }

    private static string Reason(QuantizationPlan plan, string node) => plan.Skipped.Single(skipped => skipped.Name == node).Reason;
}
