using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Running;

[TestClass]
public sealed class DecodingTests
{
    private static readonly long[] Prompt = [1, 403, 407, 261, 378];
    private static readonly SessionSettings Settings = new() { Threads = 1, UseLibrary = false };

    [TestMethod]
    public void GreedyTextOfTheBundledModelIsKnown()
    {
        using var tokenizer = Tokenizer.Open(TestFiles.Stories260K);
        using var model = OpenStories();
        var streamed = new List<long>();

        var result = TextGenerator.Generate(model, Prompt, new GenerationOptions { MaxNewTokens = 40 }, streamed.Add);

        Assert.AreEqual(
            ", there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball.",
            tokenizer.Decode(result.Tokens));
        CollectionAssert.AreEqual(result.Tokens.ToArray(), streamed);
        Assert.AreEqual(5, result.PromptTokens);
        Assert.AreEqual(39, result.DecodeSteps);
        Assert.IsFalse(result.StoppedAtEnd);
    }

    [TestMethod]
    public void StepsGiveTheScoresOfOneRun()
    {
        using var model = OpenStories();
        using var whole = model.Score(Prompt, 1);
        using var state = model.Start(1, Prompt.Length);

        for (var position = 0; position < Prompt.Length; position++)
        {
            using var step = state.Append([Prompt[position]]);
            AssertClose(Row(whole, position), Row(step, 0), 0.02);
        }

        Assert.AreEqual(Prompt.Length, state.Length);
    }

    [TestMethod]
    public void SequencesOfABatchDoNotInfluenceEachOther()
    {
        using var model = OpenStories();
        long[] other = [1, 432, 383, 286, 261];

        using var both = model.Score([.. Prompt, .. other], 2);
        using var alone = model.Score(other, 1);

        for (var position = 0; position < other.Length; position++)
        {
            AssertClose(Row(alone, position), Row(both, Prompt.Length + position), 0.02);
        }
    }

    [TestMethod]
    public void SharedBufferDecodesTheSame()
    {
        using var model = LanguageModel.Open(TestFiles.Optional("models/zoo/genai/llama-fp16-cuda/model.onnx"), Settings);
        long[] prompt = [5, 17, 200, 31];

        Assert.IsTrue(model.CanShareCacheBuffer);
        var shared = Steps(model, prompt, shareBuffer: true);
        var separate = Steps(model, prompt, shareBuffer: false);

        for (var step = 0; step < shared.Count; step++)
        {
            AssertClose(separate[step], shared[step], 1e-3);
        }
    }

    [TestMethod]
    public void ModelWithoutACacheSeesTheWholeSequence()
    {
        using var folder = new TemporaryFolder();
        using var model = LanguageModel.Open(TableModel.Write(folder.File("model.onnx"), TableModel.Random(9, seed: 5), cumulative: true), Settings);
        long[] sequences = [1, 2, 3, 4, 8, 7, 6, 5];
        using var whole = model.Score(sequences, 2);
        using var state = model.Start(2, 4);

        using var first = state.Append([1, 2, 3, 8, 7, 6]);
        using var last = state.Append([4, 5]);

        Assert.AreEqual(6, first.Rows);
        Assert.AreEqual(2, last.Rows);
        CollectionAssert.AreEqual(Row(whole, 5), Row(first, 4));
        CollectionAssert.AreEqual(Row(whole, 3), Row(last, 0));
        CollectionAssert.AreEqual(Row(whole, 7), Row(last, 1));
    }

    [TestMethod]
    public void ModelForASingleSequenceIsGivenOneAtATime()
    {
        using var model = LanguageModel.Open(TestFiles.Optional("models/zoo/extra/gpt2-dynamo-fp16.onnx"), Settings);
        long[][] sequences = [[1, 2, 3], [4, 5, 6]];

        var both = Perplexity.Measure(model, sequences);
        var apart = sequences.Select(ids => Math.Log(Perplexity.Measure(model, [ids]).Value));

        Assert.AreEqual(Math.Exp(apart.Average()), both.Value, 1e-3 * both.Value);
    }

    [TestMethod]
    public void SamplingDependsOnTheSeedOnly()
    {
        using var model = OpenStories();
        GenerationOptions Options(int seed) => new() { MaxNewTokens = 24, Temperature = 1, Seed = seed };

        var first = TextGenerator.Generate(model, Prompt, Options(7)).Tokens.ToArray();

        CollectionAssert.AreEqual(first, TextGenerator.Generate(model, Prompt, Options(7)).Tokens.ToArray());
        CollectionAssert.AreNotEqual(first, TextGenerator.Generate(model, Prompt, Options(8)).Tokens.ToArray());
    }

    [TestMethod]
    public void SamplerDrawsWithTheProbabilitiesOfTheScores()
    {
        var sampler = new Sampler(temperature: 2, seed: 1);
        float[] scores = [0, 2 * MathF.Log(3), float.NegativeInfinity];
        var counts = new int[3];
        for (var draw = 0; draw < 10000; draw++)
        {
            counts[sampler.Next(scores)]++;
        }

        // Divided by the temperature: probabilities 1/4 and 3/4. Five standard deviations are 216 draws.
        Assert.AreEqual(2500, counts[0], 216);
        Assert.AreEqual(0, counts[2]);
        Assert.AreEqual(1, new Sampler(0, 1).Next(scores));
    }

    [TestMethod]
    public void EndOfSequenceStopsAndIsNoPartOfTheText()
    {
        using var model = OpenStories();
        var free = TextGenerator.Generate(model, Prompt, new GenerationOptions { MaxNewTokens = 8 });

        var stopped = TextGenerator.Generate(model, Prompt, new GenerationOptions { MaxNewTokens = 8, EndOfSequence = [free.Tokens[3]] });

        Assert.IsTrue(stopped.StoppedAtEnd);
        CollectionAssert.AreEqual(free.Tokens.Take(free.Tokens.ToList().IndexOf(free.Tokens[3])).ToArray(), stopped.Tokens.ToArray());
    }

    [TestMethod]
    public void CancellationEndsAGeneration()
    {
        using var model = OpenStories();
        using var cancellation = new CancellationTokenSource();
        var count = 0;

        Assert.ThrowsExactly<OperationCanceledException>(() => TextGenerator.Generate(
            model, Prompt, new GenerationOptions { MaxNewTokens = 400 }, _ =>
            {
                if (++count == 3)
                {
                    cancellation.Cancel();
                }
            }, cancellation.Token));
        Assert.AreEqual(3, count);
    }

    [TestMethod]
    public void LimitsAreNamed()
    {
        using var model = OpenStories();
        using var state = model.Start(1, 4);

        Assert.Contains("5 tokens after 0", Assert.ThrowsExactly<RunningException>(() => state.Append(Prompt)).Message);
        Assert.Contains("no tokens", Assert.ThrowsExactly<RunningException>(() => TextGenerator.Generate(model, [], new GenerationOptions())).Message);
        Assert.Contains("512", Assert.ThrowsExactly<RunningException>(() => TextGenerator.Generate(model, new long[600], new GenerationOptions())).Message);
    }

    [TestMethod]
    public void ModelThatIsNoDecoderIsNamed()
    {
        var bert = TestFiles.Optional("models/zoo/optimum/bert-fp16/model.onnx");

        Assert.Contains("token_type_ids", Assert.ThrowsExactly<RunningException>(() => LanguageModel.Open(bert, Settings)).Message);
    }

    [TestMethod]
    public void HeadSizeComesFromTheConfiguration()
    {
        using var folder = new TemporaryFolder();
        var source = TestFiles.Optional("models/zoo/genai/llama-fp16-cuda");
        foreach (var name in new[] { "model.onnx", "model.onnx.data" })
        {
            File.Copy(Path.Combine(source, name), folder.File(name));
        }

        using var model = LanguageModel.Open(folder.File("model.onnx"), Settings);

        Assert.Contains("head_size", Assert.ThrowsExactly<RunningException>(() => model.Start(1, 8)).Message);
    }

    private static LanguageModel OpenStories() => LanguageModel.Open(Path.Combine(TestFiles.Stories260K, "model.onnx"), Settings);

    private static List<float[]> Steps(LanguageModel model, long[] prompt, bool shareBuffer)
    {
        using var state = model.Start(1, 16, shareBuffer);
        var rows = new List<float[]>();
        using (var logits = state.Append(prompt))
        {
            rows.Add(Row(logits, prompt.Length - 1));
        }

        foreach (var id in (ReadOnlySpan<long>)[9, 8, 7])
        {
            using var logits = state.Append([id]);
            rows.Add(Row(logits, 0));
        }

        return rows;
    }

    private static float[] Row(Logits logits, int row)
    {
        var scores = new float[logits.Vocabulary];
        logits.ReadRow(row, scores);
        return scores;
    }

    private static void AssertClose(float[] expected, float[] actual, double tolerance)
    {
        var distance = Math.Sqrt(expected.Zip(actual, (x, y) => Math.Pow(x - y, 2)).Sum() / expected.Sum(x => Math.Pow(x, 2)));
        Assert.IsLessThan(tolerance, distance);
    }
}
