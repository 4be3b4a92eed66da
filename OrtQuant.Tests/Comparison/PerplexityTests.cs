using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Comparison;

[TestClass]
public sealed class PerplexityTests
{
    private static readonly SessionSettings Settings = new() { Threads = 1, UseLibrary = false };

    [TestMethod]
    public void UniformModelHasThePerplexityOfItsVocabulary()
    {
        using var folder = new TemporaryFolder();
        using var model = LanguageModel.Open(TableModel.Write(folder.File("model.onnx"), new float[7, 7]), Settings);

        var result = Perplexity.Measure(model, [[0, 1, 2, 3], [6, 5]]);

        Assert.AreEqual(7, result.Value, 1e-5);
        Assert.AreEqual(4, result.Tokens);
    }

    [TestMethod]
    public void EqualsTheDefinitionOverSequencesOfDifferentLengths()
    {
        using var folder = new TemporaryFolder();
        var table = TableModel.Random(11, seed: 3);
        using var model = LanguageModel.Open(TableModel.Write(folder.File("model.onnx"), table), Settings);
        long[][] sequences = [[3, 1, 4], [1, 5, 9], [2, 6], [5, 3, 5, 8, 9, 7]];

        var result = Perplexity.Measure(model, sequences);

        var losses = sequences.SelectMany(ids => ids.Zip(ids.Skip(1), (last, next) => TableModel.Loss(table, last, next))).ToArray();
        Assert.AreEqual(losses.Length, result.Tokens);
        Assert.AreEqual(Math.Exp(losses.Average()), result.Value, 1e-5);
    }

    [TestMethod]
    public void FirstTokenOfASequenceIsContextOnly()
    {
        using var folder = new TemporaryFolder();
        var table = TableModel.Random(5, seed: 4);
        using var model = LanguageModel.Open(TableModel.Write(folder.File("model.onnx"), table), Settings);

        var together = Perplexity.Measure(model, [[0, 1, 2, 3]]);
        var apart = Perplexity.Measure(model, [[0, 1], [2, 3]]);

        Assert.AreEqual(3, together.Tokens);
        Assert.AreEqual(2, apart.Tokens);
        Assert.AreEqual(Math.Exp((TableModel.Loss(table, 0, 1) + TableModel.Loss(table, 2, 3)) / 2), apart.Value, 1e-5);
    }

    [TestMethod]
    public void IdOutsideTheVocabularyIsNamed()
    {
        using var folder = new TemporaryFolder();
        using var model = LanguageModel.Open(TableModel.Write(folder.File("model.onnx"), new float[4, 4]), Settings);

        var error = Assert.ThrowsExactly<RunningException>(() => Perplexity.Measure(model, [[0, 4]]));

        Assert.IsNotEmpty(error.Message);
        Assert.ThrowsExactly<RunningException>(() => Perplexity.Measure(model, [[0]]));
    }

    [TestMethod]
    public void BundledModelHasItsKnownPerplexity()
    {
        // 4.1934 over the first 40 stories of this file, each with BOS and cut at 512 ids.
        var text = string.Join("<|endoftext|>", File.ReadAllText(TestFiles.Optional("text/tinystories-eval.txt")).Split("<|endoftext|>").Take(40));
        using var tokenizer = Tokenizer.Open(TestFiles.Stories260K);
        using var model = LanguageModel.Open(Path.Combine(TestFiles.Stories260K, "model.onnx"), Settings);
        var sequences = TokenSequences.FromText(text, tokenizer, new SequenceOptions { BeginOfSequence = true, Separator = "<|endoftext|>" });

        var result = Perplexity.Measure(model, sequences);

        Assert.HasCount(40, sequences);
        Assert.AreEqual(4.1934, result.Value, 5e-4);
    }
}
