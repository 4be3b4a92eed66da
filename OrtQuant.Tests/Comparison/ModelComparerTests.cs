using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Comparison;

[TestClass]
public sealed class ModelComparerTests
{
    private static readonly SessionSettings Session = new() { Threads = 1, UseLibrary = false };
    private static readonly ComparisonOptions MadeInputs = new() { Reference = Session, Model = Session };
    private static readonly ComparisonOptions Sequences = MadeInputs with { Sequences = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3]] };

    [TestMethod]
    public void EqualModelsDoNotDiffer()
    {
        using var folder = new TemporaryFolder();
        var model = TableModel.Write(folder.File("model.onnx"), TableModel.Random(4, seed: 1));

        foreach (var result in new[] { ModelComparer.Compare(model, model, MadeInputs), ModelComparer.Compare(model, model, Sequences) })
        {
            Assert.AreEqual(0, result.MaxAbs);
            Assert.AreEqual(0, result.RelativeL2);
            Assert.AreEqual(1, result.Cosine, 1e-7);
            Assert.AreEqual(0, result.KlMean);
            Assert.AreEqual(1, result.Top1Agreement);
        }
    }

    [TestMethod]
    public void OneChangedScoreIsFound()
    {
        using var folder = new TemporaryFolder();
        var table = TableModel.Random(4, seed: 1);
        var reference = TableModel.Write(folder.File("reference.onnx"), table);
        table[2, 3] += 1;
        var model = TableModel.Write(folder.File("model.onnx"), table);

        foreach (var result in new[] { ModelComparer.Compare(reference, model, MadeInputs), ModelComparer.Compare(reference, model, Sequences) })
        {
            Assert.AreEqual(1, result.MaxAbs, 1e-6);
            Assert.IsGreaterThan(0, result.RelativeL2);
            Assert.IsLessThan(1, result.Cosine);
            Assert.IsGreaterThan(0, result.KlMean!.Value);
            Assert.IsGreaterThan(result.KlMean.Value, result.KlMax!.Value);
        }
    }

    [TestMethod]
    public void FiguresOnSequencesEqualTheirDefinitions()
    {
        using var folder = new TemporaryFolder();
        var (expected, actual) = (TableModel.Random(4, seed: 1), TableModel.Random(4, seed: 2));
        var reference = TableModel.Write(folder.File("reference.onnx"), expected);
        var model = TableModel.Write(folder.File("model.onnx"), actual);

        var result = ModelComparer.Compare(reference, model, Sequences);

        var positions = Sequences.Sequences!.SelectMany(ids => ids).ToArray();
        var divergences = positions.Select(last => Divergence(expected, actual, last)).ToArray();
        var pairs = Sequences.Sequences!.SelectMany(ids => ids.Zip(ids.Skip(1))).ToArray();
        Assert.AreEqual(positions.Length, result.Tokens);
        Assert.AreEqual(divergences.Average(), result.KlMean!.Value, 1e-5);
        Assert.AreEqual(divergences.Max(), result.KlMax!.Value, 1e-5);
        Assert.AreEqual(positions.Count(last => Best(expected, last) == Best(actual, last)) / (double)positions.Length, result.Top1Agreement!.Value, 1e-9);
        Assert.AreEqual(Math.Exp(pairs.Average(pair => TableModel.Loss(expected, pair.First, pair.Second))), result.Perplexity!.Reference, 1e-5);
        Assert.AreEqual(Math.Exp(pairs.Average(pair => TableModel.Loss(actual, pair.First, pair.Second))), result.Perplexity.Rewritten, 1e-5);
    }

    [TestMethod]
    public void MadeInputsCoverEveryOutputAndAStepWithPast()
    {
        var model = Path.Combine(TestFiles.Stories260K, "model.onnx");

        var result = ModelComparer.Compare(model, model, MadeInputs);

        // logits, and key and value of five layers; in two steps.
        Assert.HasCount(22, result.Outputs);
        Assert.AreEqual(11, result.Outputs.Count(output => output.Step == "next"));
        Assert.AreEqual(0, result.RelativeL2);
    }

    [TestMethod]
    public void SeedChangesMadeInputs()
    {
        using var folder = new TemporaryFolder();
        var table = TableModel.Random(64, seed: 1);
        var reference = TableModel.Write(folder.File("reference.onnx"), table);
        table[5, 5] += 1;
        var model = TableModel.Write(folder.File("model.onnx"), table);

        var results = Enumerable.Range(0, 6).Select(seed => ModelComparer.Compare(reference, model, MadeInputs with { Seed = seed, MadeLength = 16 }).MaxAbs);

        // Some of the random sequences contain id 5, some do not.
        CollectionAssert.AreEquivalent(new[] { 0.0, 1.0 }, results.Select(value => Math.Round(value, 3)).Distinct().ToArray());
    }

    [TestMethod]
    public void NotANumberMakesAComparisonNotFinite()
    {
        using var folder = new TemporaryFolder();
        var table = TableModel.Random(4, seed: 1);
        var reference = TableModel.Write(folder.File("reference.onnx"), table);
        table[1, 1] = float.NaN;
        var model = TableModel.Write(folder.File("model.onnx"), table);

        Assert.IsFalse(ModelComparer.Compare(reference, model, Sequences).IsFinite);
        Assert.IsTrue(ModelComparer.Compare(reference, reference, Sequences).IsFinite);
    }

    [TestMethod]
    public void DifferentVocabulariesAreNamed()
    {
        using var folder = new TemporaryFolder();
        var reference = TableModel.Write(folder.File("reference.onnx"), new float[4, 4]);
        var model = TableModel.Write(folder.File("model.onnx"), new float[5, 5]);

        var error = Assert.ThrowsExactly<RunningException>(() => ModelComparer.Compare(reference, model, Sequences));

        Assert.Contains("5", error.Message);
    }

    [TestMethod]
    [DynamicData(nameof(ZooModels))]
    public void AnyKindOfTransformerCanBeCompared(string name)
    {
        var model = TestFiles.Optional($"models/zoo/{name}");

        var result = ModelComparer.Compare(model, model, MadeInputs);

        Assert.AreEqual(0, result.RelativeL2);
        Assert.IsNotEmpty(result.Outputs);
    }

    public static IEnumerable<string[]> ZooModels =>
    [
        ["optimum/bert-fp16/model.onnx"], ["optimum/t5-fp16/encoder_model.onnx"], ["optimum/t5-fp16/decoder_model.onnx"],
        ["optimum/whisper-fp32/encoder_model.onnx"], ["optimum/whisper-fp32/decoder_model.onnx"], ["optimum/gemma2-fp16/model.onnx"],
        ["optimum/bloom-fp16/model.onnx"], ["genai/llama-fp16-cuda/model.onnx"], ["genai/phi-fp16-cuda/model.onnx"], ["extra/gpt2-dynamo-fp16.onnx"],
    ];

    private static double Divergence(float[,] p, float[,] q, long last) => Enumerable.Range(0, p.GetLength(1))
        .Sum(id => Math.Exp(-TableModel.Loss(p, last, id)) * (TableModel.Loss(q, last, id) - TableModel.Loss(p, last, id)));

    private static int Best(float[,] table, long last) => Enumerable.Range(0, table.GetLength(1)).MaxBy(id => table[last, id]);
}
