using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.GraphRewriter.Transforms;
using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Tests.EndToEnd;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Transforms;

/// <summary>Rotation of the inputs of down projections: the same function before anything is quantized, found by structure and not by names.</summary>
[TestClass]
public sealed class RotateInputsTests
{
    // float32 sums in another order, five layers deep; outputs of the graph are float32.
    private const double FloatRounding = 1e-5;

    // Graphs that stay in float16 round at every node.
    private const double ZooRounding = 5e-3;

    private static readonly Regex Nothing = new("^nothing at all$");

    public static IEnumerable<object[]> Zoo => ZooFormatTests.Models;

    [TestMethod]
    public void TheBundledModelComputesTheSame()
    {
        using var folder = new TemporaryFolder();
        var (plain, rotated, withoutLibrary) = (folder.File("plain", "model.onnx"), folder.File("rotated", "model.onnx"), new SessionSettings { UseLibrary = false });
        Unquantized(plain, RotationChoice.None);
        var plan = Unquantized(rotated, RotationChoice.Down);

        CollectionAssert.AreEqual(
            Enumerable.Range(0, 5).Select(layer => $"/model/layers.{layer}/mlp/down_proj/MatMul").ToArray(), plan.Transforms.OfType<RotateInputs>().Single().Nodes.ToArray());
        Assert.IsLessThan(FloatRounding, Compare(plain, rotated, new SessionSettings()), "kernels");
        Assert.IsLessThan(FloatRounding, Compare(plain, rotated, withoutLibrary), "function bodies");
        using var model = OnnxModel.Load(rotated);
        Assert.AreEqual(5, model.AllGraphs.SelectMany(graph => graph.Nodes).Count(node => node is { Domain: "ortquant", OpType: "HadamardTransform" }));
    }

    /// <summary>Negative control: with the weight of one layer as it was, it is another function.</summary>
    [TestMethod]
    public void AWeightThatIsNotRotatedIsNoticed()
    {
        using var folder = new TemporaryFolder();
        var (plain, rotated) = (folder.File("plain", "model.onnx"), folder.File("rotated", "model.onnx"));
        Unquantized(plain, RotationChoice.None);
        Unquantized(rotated, RotationChoice.Down);
        var model = Onnx.ModelProto.Parser.ParseFrom(File.ReadAllBytes(rotated));
        var tensor = model.Graph.Initializer.First(tensor => tensor.Name.EndsWith("_rotated", StringComparison.Ordinal));
        var bytes = tensor.RawData.ToByteArray();
        bytes[3] ^= 0x80;
        tensor.RawData = Google.Protobuf.ByteString.CopyFrom(bytes);
        using (var output = File.Create(rotated)) Google.Protobuf.MessageExtensions.WriteTo(model, output);

        Assert.IsGreaterThan(FloatRounding, Compare(plain, rotated, new SessionSettings()));
    }

    [TestMethod]
    [DataRow("--bits", "8")]
    [DataRow("--scheme", "smooth")]
    [DataRow("--algorithm", "weighted")]
    public void QuantizedModelsVerify(params string[] options)
    {
        using var folder = new TemporaryFolder();
        var result = Tool.Run(["rewrite", TestFiles.Stories260K, "-o", folder.File("out"), "--rotate", "down", "--verify", "--json", .. options]).ShouldSucceed().Json();

        Assert.IsTrue(result.GetProperty("compare").GetProperty("kernels").EnumerateArray().All(check => check.GetProperty("passed").GetBoolean()));
    }

    /// <summary>Graphs of many exporters: the same function, or there is nothing to rotate and it is said.</summary>
    [TestMethod]
    [DynamicData(nameof(Zoo))]
    [TestCategory("Zoo")]
    public void EveryGraphComputesTheSame(string file)
    {
        var source = Path.Combine(TestFiles.Optional("models/zoo"), file);
        using var folder = new TemporaryFolder();
        var (plain, rotated) = (folder.File("plain", "model.onnx"), folder.File("rotated", "model.onnx"));
        try
        {
            Unquantized(rotated, RotationChoice.Down, source);
        }
        catch (PlanException exception)
        {
            Assert.IsTrue(exception.Message.Contains("nothing to rotate", StringComparison.Ordinal) || exception.Message.Contains("no input can be rotated", StringComparison.Ordinal), exception.Message);
            return;
        }

        Unquantized(plain, RotationChoice.None, source);
        Assert.IsLessThan(ZooRounding, Compare(plain, rotated, new SessionSettings()));
    }

    [TestMethod]
    public void ThePlanSaysItAndIsReadBack()
    {
        using var model = OnnxModel.Load(Path.Combine(TestFiles.Stories260K, "model.onnx"));
        var plan = QuantizationPlan.Create(model, new PlanOptions { Rotation = RotationChoice.Down });
        var read = QuantizationPlan.FromJson(JsonNode.Parse(plan.ToJson().ToJsonString())!.AsObject());

        Assert.AreEqual(plan.Transforms.OfType<RotateInputs>().Single(), read.Transforms.OfType<RotateInputs>().Single());
        read.CheckAgainst(model);
        var microsoft = Assert.ThrowsExactly<PlanException>(() => QuantizationPlan.Create(model, new PlanOptions { Rotation = RotationChoice.Down, Emit = EmittedOps.Microsoft }));
        Assert.Contains("ortquant::HadamardTransform", microsoft.Message);
        var unknown = Assert.ThrowsExactly<PlanException>(() => new RotateInputs(["nope"]).Apply(model));
        Assert.Contains("names linear 'nope', which the model does not have", unknown.Message);
    }

    [TestMethod]
    public void AGraphWithoutFeedForwardBlocksIsToldSo()
    {
        using var folder = new TemporaryFolder();
        using var model = OnnxModel.Load(GraphFixtures.Get("external-files").Write(folder.File("in", "")));

        Assert.Contains("nothing to rotate", Assert.ThrowsExactly<PlanException>(() => QuantizationPlan.Create(model, new PlanOptions { Rotation = RotationChoice.Down })).Message);
    }

    /// <summary>Reads may begin and end anywhere, inside elements too.</summary>
    [TestMethod]
    public void ARotatedTensorReadsAlikeInPieces()
    {
        var random = new Random(4);
        var weight = new DenseWeight(new(5, 12), Enumerable.Range(0, 60).Select(_ => random.NextSingle() - 0.5f).ToArray());
        foreach (var type in (ElementType[])[ElementType.Float32, ElementType.Float16])
        {
            var tensor = new RotatedTensor(weight, type);
            var whole = tensor.ReadBytes();
            foreach (var (offset, count) in new[] { (0, 1), (1, 7), (23, 30), (whole.Length - 5, 5), (3, whole.Length - 3) })
            {
                var part = new byte[count];
                tensor.Read(offset, part);
                CollectionAssert.AreEqual(whole[offset..(offset + count)], part);
            }
        }

        // H is orthogonal: lengths of rows stay.
        var rotated = new RotatedTensor(weight, ElementType.Float32).ReadFloats();
        for (var n = 0; n < 5; n++)
        {
            Assert.AreEqual(weight.ReadAll().Skip(12 * n).Take(12).Sum(value => (double)value * value), rotated.Skip(12 * n).Take(12).Sum(value => (double)value * value), 1e-6);
        }
    }

    private static QuantizationPlan Unquantized(string output, RotationChoice rotation, string? source = null)
    {
        source ??= Path.Combine(TestFiles.Stories260K, "model.onnx");
        using var model = OnnxModel.Load(source);
        var plan = QuantizationPlan.Create(model, new PlanOptions { Only = Nothing, Io = InterfaceType.Float32, Rotation = rotation });
        var folder = Path.GetDirectoryName(output)!;
        Directory.CreateDirectory(folder);
        ModelRewriter.Rewrite(model, plan, output);
        foreach (var beside in Directory.GetFiles(Path.GetDirectoryName(source)!, "*.json")) File.Copy(beside, Path.Combine(folder, Path.GetFileName(beside)), overwrite: true);
        return plan;
    }

    private static double Compare(string one, string other, SessionSettings settings) =>
        ModelComparer.Compare(one, other, new ComparisonOptions { Reference = settings, Model = settings }).RelativeL2;
}
