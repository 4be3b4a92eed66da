using System.Text.Json.Nodes;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Adapters;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Matching;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.GraphRewriter.Transforms;
using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;
using OrtQuant.Tests.Support;
using static OrtQuant.Tests.Adapters.AdapterFixture;
using static OrtQuant.Tests.Support.ModelBuilder;

namespace OrtQuant.Tests.Adapters;

[TestClass]
public sealed class AdapterTests
{
    private const string Value = "base_model.model.model.layers.0.self_attn.v_proj";
    private const string Output = "base_model.model.model.layers.0.self_attn.o_proj";
    private const string Down = "base_model.model.model.layers.0.mlp.down_proj";

    [TestMethod]
    [DataRow(ElementType.Float32)]
    [DataRow(ElementType.Float16)]
    public void MergedWeightsAreTheSum(ElementType type)
    {
        using var folder = new TemporaryFolder();
        var (query, value, output, down) = (Factors(Query, 64), Factors(Value, 32, seed: 9), Factors(Output, 64, columns: 128, seed: 11), Factors(Down, 32, seed: 13));
        var adapter = Write(folder.File("adapter"), Configuration(), query, value, output, down);
        using var plain = Layer(type).Load(folder.File("plain"));
        using var merged = Layer(type).Load(folder.File("merged"));
        new MergeAdapter(adapter).Apply(merged);

        // alpha / r is 2. q has the first 64 of the packed rows, v the last 32; k's are not touched.
        var (before, after) = (Weights(plain), Weights(merged));
        AssertSum(before["model.layers.0.attn.qkv_proj.MatMul.weight"], after["model.layers.0.attn.qkv_proj.MatMul.weight"], (0, Product(query, 2)), (96, Product(value, 2)));
        AssertSum(before["onnx::MatMul_17"], after["onnx::MatMul_17"], (0, Product(output, 2)));
        AssertSum(before["model.layers.0.mlp.down_proj.weight"], after["model.layers.0.mlp.down_proj.weight"], (0, Product(down, 2)));
        Assert.ThrowsExactly<AssertFailedException>(
            () => AssertSum(before["onnx::MatMul_17"], after["onnx::MatMul_17"], (0, Product(output, 2.001))), "a scale that is a little off is seen");
    }

    [TestMethod]
    public void BytesAreTheRoundedSum()
    {
        using var folder = new TemporaryFolder();
        var adapter = Write(folder.File("adapter"), Configuration(), Factors(Query, 64));
        using var model = Layer(ElementType.Float16).Load(folder.File("model"));
        new MergeAdapter(adapter).Apply(model);
        var tensor = model.Graph.Find("model.layers.0.attn.qkv_proj.MatMul.weight")!.Constant!;
        var bytes = tensor.ReadBytes();
        var exact = new float[tensor.Count];
        ElementReader.Read(tensor, 0, exact);
        CollectionAssert.AreEqual(FloatBytes.Encode(ElementType.Float16, exact), bytes);
        foreach (var (offset, count) in new[] { (1, 1), (3, 500), (255, 2), (bytes.Length - 1, 1) })
        {
            var part = new byte[count];
            tensor.Read(offset, part);
            CollectionAssert.AreEqual(bytes[offset..(offset + count)], part, $"{count} bytes from {offset}");
        }
    }

    [TestMethod]
    public void ScaleFollowsTheConfiguration()
    {
        using var folder = new TemporaryFolder();
        Assert.AreEqual(4f, ScaleOf(new JsonObject { ["use_rslora"] = true }), 1e-6f, "alpha / sqrt(r)");
        Assert.AreEqual(5f, ScaleOf(new JsonObject { ["alpha_pattern"] = new JsonObject { ["layers.0.self_attn.q_proj"] = 20, ["q_pro"] = 1 } }), 1e-6f);
        Assert.AreEqual(2f, ScaleOf(new JsonObject { ["alpha_pattern"] = new JsonObject { ["layers.1.*"] = 20 } }), 1e-6f);
        Assert.AreEqual(2f, ScaleOf(new JsonObject { ["r"] = 16, ["rank_pattern"] = new JsonObject { ["q_proj"] = Rank } }), 1e-6f);

        float ScaleOf(JsonObject changes)
        {
            using var adapter = LoraAdapter.Open(Write(folder.File(Guid.NewGuid().ToString()), With(changes), Factors(Query, 64)));
            return adapter.Modules.Single().Scale;
        }
    }

    [TestMethod]
    public void TiedEmbeddingStaysWhenTheHeadIsAdapted()
    {
        using var folder = new TemporaryFolder();
        var builder = new ModelBuilder().Input("ids", ElementType.Int64, "n").Weight("model.embed_tokens.weight", ElementType.Float32, 1, 96, K)
            .Node("Gather", ["model.embed_tokens.weight", "ids"], ["h"]).Node("Transpose", ["model.embed_tokens.weight"], ["t"], Ints("perm", 1, 0))
            .Node(new Onnx.NodeProto { OpType = "MatMul", Name = "/lm_head/MatMul", Input = { "h", "t" }, Output = { "logits" } }).Output("logits", ElementType.Float32, "n", 96);
        var factors = Factors("base_model.model.lm_head", 96);
        using var model = builder.Load(folder.File("model"));
        var before = Weights(model).Single().Value;
        new MergeAdapter(Write(folder.File("adapter"), Configuration(), factors)).Apply(model);
        var after = Weights(model);
        AssertSum(before, after["model.embed_tokens.weight_adapted"], (0, Product(factors, 2)));
        CollectionAssert.AreEqual(before.Values, after["model.embed_tokens.weight"].Values);
    }

    [TestMethod]
    [DataRow(true)]
    [DataRow(false)]
    public void LowRankInputsAddTheAdapter(bool library)
    {
        using var folder = new TemporaryFolder();
        var (query, value, output) = (Factors(Query, 64), Factors(Value, 32, seed: 9), Factors(Output, 64, columns: 128, seed: 11));
        var adapter = Write(folder.File("adapter"), Configuration(), query, value, output);
        var settings = new SessionSettings { UseLibrary = library, Threads = 1 };
        var kept = FixtureRunner.Run(Rewrite(folder, "kept", new PlanOptions { Bits = 8, Adapter = adapter, AdapterMode = AdapterMode.LowRank }), settings);
        var merged = FixtureRunner.Run(Rewrite(folder, "merged", new PlanOptions { Bits = 8, Adapter = adapter }), settings);
        var without = FixtureRunner.Run(Rewrite(folder, "without", new PlanOptions { Bits = 8 }), settings);

        // The two quantize different weights, at 8 bits both well; without the adapter the result is another.
        Assert.IsLessThan(0.02, FixtureRunner.RelativeError(merged, kept));
        Assert.IsGreaterThan(0.3, FixtureRunner.RelativeError(merged, without));
    }

    [TestMethod]
    public void LowRankInputsStackWhereLinearsDo()
    {
        using var folder = new TemporaryFolder();
        var builder = new ModelBuilder().Input("x", ElementType.Float32, "rows", K).Output("y", ElementType.Float32, "rows", 64);
        foreach (var (part, seed) in new[] { ("q_proj", 1), ("k_proj", 2), ("v_proj", 3) })
        {
            builder.Weight($"{part}.weight", ElementType.Float32, seed, K, 64)
                .Node(new Onnx.NodeProto { OpType = "MatMul", Name = $"/model/layers.0/self_attn/{part}/MatMul", Input = { "x", $"{part}.weight" }, Output = { part } });
        }

        builder.Node("Mul", ["q_proj", "k_proj"], ["qk"]).Node("Add", ["qk", "v_proj"], ["y"]);
        var source = builder.Save(folder.File("source"));
        var adapter = Write(folder.File("adapter"), Configuration(), Factors(Query, 64), Factors(Value, 64, seed: 9));
        var outputs = new List<float[]>();
        foreach (var merge in new[] { true, false })
        {
            using var model = OnnxModel.Load(source);
            var plan = QuantizationPlan.Create(model, new PlanOptions { Bits = 8, Adapter = adapter, AdapterMode = AdapterMode.LowRank, Merge = merge });
            Assert.AreEqual(merge, plan.Transforms.OfType<MergeLinears>().Any());
            outputs.Add(FixtureRunner.Run(ModelRewriter.Rewrite(model, plan, folder.File($"{merge}.onnx")).Path, new SessionSettings { Threads = 1 }));
        }

        Assert.IsLessThan(1e-5, FixtureRunner.RelativeError(outputs[1], outputs[0]));
    }

    [TestMethod]
    [DataRow(AdapterPooling.Peft, 2.0 * 2 / 32)]
    [DataRow(AdapterPooling.Mean, 2.0 / 32)]
    [DataRow(AdapterPooling.Sum, 2.0)]
    public void QuantizationAwareAdapterOnlyMovesZeroPoints(AdapterPooling pooling, double factor)
    {
        using var folder = new TemporaryFolder();
        var factors = Factors(Query, 64, columns: K / 32);
        var adapter = Write(folder.File("adapter"), With(new JsonObject { ["use_qalora"] = true, ["qalora_group_size"] = 32 }), factors);
        var parameters = new GroupParameters(4, 16, ZeroPointKind.Float, ElementType.Float32);
        using var model = Layer().Load(folder.File("model"));
        var weight = WeightMatcher.Match(model).Weights[0];
        using var opened = LoraAdapter.Open(adapter);
        var change = AdapterTargets.Find(opened.Modules, [weight]).Single().PooledChange(32, pooling, 1);

        using var grid = (IAffineGrid)GroupScheme.Instance.CreateGrid(weight.Matrix.Shape, parameters);
        var values = weight.Matrix.Open().ReadAll();
        values.AsSpan(0, 16).Clear();
        grid.FitRows(0, (int)grid.Shape.N, values, []);
        var (before, after) = (new float[K], new float[K]);
        for (var n = 0; n < grid.Shape.N; n++) grid.Round(n, 0, values.AsSpan(n * K, K), []);
        var rows = Enumerable.Range(0, (int)grid.Shape.N).Select(n => { grid.Dequantize(n, before); return (float[])before.Clone(); }).ToList();
        ZeroPointShift.Apply(grid, [change]);

        var product = Product(factors, factor);
        for (var n = 0; n < grid.Shape.N; n++)
        {
            grid.Dequantize(n, after);
            for (var k = 0; k < K; k++)
            {
                var expected = rows[n][k] + (n < 64 ? product[n, k / 32] : 0);
                Assert.AreEqual(expected, after[k], 1e-6, $"row {n}, k {k}");
            }
        }
    }

    [TestMethod]
    public void QuantizationAwareAdapterKeepsTheCodesOfAQuantizedModel()
    {
        using var folder = new TemporaryFolder();
        var factors = Factors(Query, 64, columns: K / 32);
        var adapter = Write(folder.File("adapter"), With(new JsonObject { ["use_qalora"] = true, ["qalora_group_size"] = 32 }), factors);
        var quantized = Rewrite(folder, "microsoft", new PlanOptions { Emit = EmittedOps.Microsoft });
        var (plain, adapted) = (Adopt(null), Adopt(adapter));
        Assert.AreEqual(ZeroPointKind.Integer, plain.Parameters.ZeroPoint);
        Assert.AreEqual(ZeroPointKind.Float, adapted.Parameters.ZeroPoint);
        var product = Product(factors, 2.0 * 2 / 32);
        var largest = 0.0;
        for (var n = 0; n < 128; n++)
        {
            for (var k = 0; k < K; k++)
            {
                // Zero points are float16, of at most 16 steps and what the adapter adds: half a unit in the last place of 32.
                var expected = plain.Values[(n * K) + k] + (n < 64 ? product[n, k / 32] : 0);
                Assert.AreEqual(expected, adapted.Values[(n * K) + k], 0.1 * Math.Pow(2, -7), $"row {n}, k {k}");
                largest = Math.Max(largest, Math.Abs(adapted.Values[(n * K) + k] - plain.Values[(n * K) + k]));
            }
        }

        Assert.IsGreaterThan(0.005, largest, "the adapter changes something");

        (GroupParameters Parameters, float[] Values) Adopt(string? from)
        {
            using var model = OnnxModel.Load(quantized);
            var plan = QuantizationPlan.Create(model, new PlanOptions { Adapter = from });
            ModelRewriter.Rewrite(model, plan, folder.File($"adopted{from is null}.onnx"));
            using var written = OnnxModel.Load(folder.File($"adopted{from is null}.onnx"));
            var weight = WeightMatcher.Match(written).Weights[0];
            return (weight.Matrix.Quantized!.Capture().Parameters(), weight.Matrix.Open().ReadAll());
        }
    }

    [TestMethod]
    public void PlansOfAdaptersGoThroughJson()
    {
        using var folder = new TemporaryFolder();
        var adapter = Write(folder.File("adapter"), Configuration(), Factors(Query, 64));
        foreach (var mode in Enum.GetValues<AdapterMode>())
        {
            using var model = Layer().Load(folder.File("model"));
            var plan = QuantizationPlan.Create(model, new PlanOptions { Adapter = adapter, AdapterMode = mode });
            Assert.HasCount(1, plan.Transforms.Where(transform => transform is MergeAdapter or AttachAdapter));
            var read = QuantizationPlan.FromJson(plan.ToJson());
            Assert.AreEqual(plan.ToJson().ToJsonString(), read.ToJson().ToJsonString());
            read.CheckAgainst(model);
        }
    }

    private static string Rewrite(TemporaryFolder folder, string name, PlanOptions options)
    {
        using var model = Layer().Load(folder.File($"{name}-source"));
        return ModelRewriter.Rewrite(model, QuantizationPlan.Create(model, options), folder.File($"{name}.onnx")).Path;
    }

    private static JsonObject With(JsonObject changes)
    {
        var configuration = Configuration();
        foreach (var (name, value) in changes) configuration[name] = value?.DeepClone();
        return configuration;
    }

    private static Dictionary<string, (WeightShape Shape, float[] Values)> Weights(OnnxModel model) => WeightMatcher.Match(model).Weights
        .ToDictionary(weight => weight.Name, weight => (weight.Matrix.Shape, weight.Matrix.Open().ReadAll()));

    private static void AssertSum((WeightShape Shape, float[] Values) before, (WeightShape Shape, float[] Values) after, params (int Row, double[,] Change)[] changes)
    {
        Assert.AreEqual(before.Shape, after.Shape);
        var expected = Array.ConvertAll(before.Values, value => (double)value);
        foreach (var (row, change) in changes)
        {
            for (var n = 0; n < change.GetLength(0); n++)
            {
                for (var k = 0; k < change.GetLength(1); k++) expected[((row + n) * before.Shape.K) + k] += change[n, k];
            }
        }

        for (var i = 0; i < expected.Length; i++) Assert.AreEqual(expected[i], after.Values[i], 3e-7, $"element {i}");
    }
}
