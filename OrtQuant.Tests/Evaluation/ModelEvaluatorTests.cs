using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Evaluation;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Evaluation;

[TestClass]
public sealed class ModelEvaluatorTests
{
    private static readonly SessionSettings Session = new() { Threads = 1, UseLibrary = false };
    private static readonly long[][] Ids = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3], [2]];

    [TestMethod]
    public void FiguresEqualTheirDefinitions()
    {
        using var folder = new TemporaryFolder();
        var expected = TableModel.Random(4, seed: 1);
        var tables = new[] { TableModel.Random(4, seed: 2), TableModel.Random(4, seed: 3) };
        var reference = new NamedModel("reference", TableModel.Write(folder.File("reference.onnx"), expected));
        var models = tables.Select((table, i) => new NamedModel($"model {i}", TableModel.Write(folder.File($"{i}.onnx"), table))).ToArray();

        var result = ModelEvaluator.Evaluate(reference, models, new EvaluationOptions { Sequences = Ids, Session = Session });

        var positions = Ids.SelectMany(ids => ids).ToArray();
        var pairs = Ids.SelectMany(ids => ids.Zip(ids.Skip(1))).ToArray();
        Assert.AreEqual(positions.Length, result.Positions);
        Assert.AreEqual(pairs.Length, result.ScoredTokens);
        Assert.AreEqual(Math.Exp(pairs.Average(pair => TableModel.Loss(expected, pair.First, pair.Second))), result.Reference.Perplexity, 1e-5);
        Assert.IsNull(result.Reference.Fidelity);
        foreach (var (table, model) in tables.Zip(result.Models))
        {
            var losses = pairs.Select(pair => TableModel.Loss(table, pair.First, pair.Second)).ToArray();
            var differences = losses.Zip(pairs, (loss, pair) => loss - TableModel.Loss(expected, pair.First, pair.Second)).ToArray();
            var divergences = positions.Select(last => Divergence(expected, table, last)).ToArray();
            Assert.AreEqual(Math.Exp(losses.Average()), model.Perplexity, 1e-4);
            Assert.AreEqual(divergences.Average(), model.Fidelity!.Divergence.Mean, 1e-5);
            Assert.AreEqual(divergences.Max(), model.Fidelity.Divergence.Max, 1e-5);
            Assert.AreEqual(differences.Average(), model.Fidelity.LossDifference.Mean, 1e-5);
            Assert.AreEqual(positions.Count(last => Best(expected, last) == Best(table, last)) / (double)positions.Length, model.Fidelity.Top1Agreement, 1e-9);
        }
    }

    [TestMethod]
    public void SpreadIsThatOfTheNumbers()
    {
        var spread = Spread.Of([4, 1, 3, 2, 10, 6, 7, 8, 9, 5]);

        Assert.AreEqual(5.5, spread.Mean, 1e-12);
        Assert.AreEqual(Math.Sqrt(82.5 / 9 / 10), spread.StandardError, 1e-12);
        Assert.AreEqual(5, spread.Median);
        Assert.AreEqual(9, spread.P90);
        Assert.AreEqual(10, spread.P99);
        Assert.AreEqual(10, spread.Max);
        Assert.IsTrue(double.IsNaN(Spread.Of([1, double.NaN]).Max));
        Assert.IsTrue(double.IsNaN(Spread.Of([1]).StandardError));
    }

    [TestMethod]
    public void StoriesAgreeWithTheComparisonOfTwoAndTheReferenceWithItself()
    {
        using var folder = new TemporaryFolder();
        var original = Path.Combine(TestFiles.Stories260K, "model.onnx");
        var packed = folder.File("packed.onnx");
        using (var model = OnnxModel.Load(original))
        {
            ModelRewriter.Rewrite(model, QuantizationPlan.Create(model, new PlanOptions { Bits = 3 }), packed);
        }

        var sequences = OwnText.Sample(original, Session, seed: 3, default, sequences: 2)!;
        var result = ModelEvaluator.Evaluate(
            new NamedModel("original", original), [new NamedModel("itself", original), new NamedModel("packed", packed)],
            new EvaluationOptions { Sequences = sequences, Session = Session });
        var compared = ModelComparer.Compare(original, packed, new ComparisonOptions { Sequences = sequences, Reference = Session, Model = Session });

        var (itself, rewritten) = (result.Models[0], result.Models[1]);
        Assert.AreEqual(0, itself.Fidelity!.Divergence.Max);
        Assert.AreEqual(0, itself.Fidelity.LossDifference.Mean);
        Assert.AreEqual(1, itself.Fidelity.Top1Agreement);
        Assert.AreEqual(compared.KlMean!.Value, rewritten.Fidelity!.Divergence.Mean, 1e-6);
        Assert.AreEqual(compared.KlMax!.Value, rewritten.Fidelity.Divergence.Max, 1e-5);
        Assert.AreEqual(compared.Perplexity!.Rewritten, rewritten.Perplexity, 1e-5);
        Assert.AreEqual(compared.Perplexity.Reference, result.Reference.Perplexity, 1e-5);
        Assert.AreEqual(Math.Log(compared.Perplexity.Rewritten / compared.Perplexity.Reference), rewritten.Fidelity.LossDifference.Mean, 1e-6);
        Assert.IsGreaterThan(0.01, rewritten.Fidelity.Divergence.Mean, "three bits cost something: the meter sees it");

        Assert.AreEqual(new FileInfo(original).Length, result.Reference.Bytes);
        Assert.AreEqual(new FileInfo(packed).Length, rewritten.Bytes);

        // Linears have 64 to 172 inputs: 3 bits, 16 of scale and 4 of zero point for every 32 of them, and what rounds up.
        Assert.IsGreaterThan(3.6, rewritten.LayerBitsPerWeight!.Value);
        Assert.IsLessThan(4.0, rewritten.LayerBitsPerWeight.Value);
        Assert.IsGreaterThan(rewritten.LayerBitsPerWeight.Value, rewritten.BitsPerWeight!.Value, "the head has eight bits");
    }

    [TestMethod]
    public void VocabulariesMustBeEqual()
    {
        using var folder = new TemporaryFolder();
        var reference = new NamedModel("reference", TableModel.Write(folder.File("reference.onnx"), new float[4, 4]));
        var model = new NamedModel("model", TableModel.Write(folder.File("model.onnx"), new float[5, 5]));

        var error = Assert.ThrowsExactly<RunningException>(() =>
            ModelEvaluator.Evaluate(reference, [model], new EvaluationOptions { Sequences = Ids, Session = Session }));

        Assert.Contains("5", error.Message);
    }

    [TestMethod]
    public void NothingToScoreIsSaid() => Assert.ThrowsExactly<RunningException>(() =>
        ModelEvaluator.Evaluate(new NamedModel("a", "a.onnx"), [], new EvaluationOptions { Sequences = [[1], [2]] }));

    private static double Divergence(float[,] p, float[,] q, long last) => Enumerable.Range(0, p.GetLength(1))
        .Sum(id => Math.Exp(-TableModel.Loss(p, last, id)) * (TableModel.Loss(q, last, id) - TableModel.Loss(p, last, id)));

    private static int Best(float[,] table, long last) => Enumerable.Range(0, table.GetLength(1)).MaxBy(id => table[last, id]);
}
