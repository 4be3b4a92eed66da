using Microsoft.ML.OnnxRuntime;
using Onnx;
using Google.Protobuf;
using OrtQuant.GraphRewriter.Calibration;
using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Quantizers;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Calibration;

[TestClass]
public sealed class CalibratorTests
{
    private const string Inputs = "x0 y0 x1 y1 h2";

    [TestMethod]
    [DataRow(0L, DisplayName = "a cut at every input")]
    [DataRow(1L, DisplayName = "as many segments as there are nodes")]
    [DataRow(60_000L, DisplayName = "a few segments")]
    [DataRow(1L << 40, DisplayName = "one segment")]
    public void SegmentsComputeWhatTheWholeGraphDoes(long weightBytes)
    {
        using var folder = new TemporaryFolder();
        var path = CalibrationModel.Create().Save(folder.Path);
        var whole = Whole(path, CalibrationModel.Sequences());
        using var model = OnnxModel.Load(path);

        var parts = InSegments(model, CalibrationModel.Sequences(), weightBytes, out var segments);

        Assert.AreEqual(Inputs, string.Join(' ', parts.Keys));
        foreach (var (name, values) in parts) Assert.IsLessThan(1e-6, FixtureRunner.RelativeError(whole[name], values), name);
        Assert.IsGreaterThan(1e-2, FixtureRunner.RelativeError(Whole(path, CalibrationModel.Sequences(seed: 4))["y1"], parts["y1"]), "other tokens must show");
        Assert.AreEqual(weightBytes == 1L << 40, segments == 1);
    }

    [TestMethod]
    public void CutsCarryOnlyTheResidualStreamAndTheInput()
    {
        using var folder = new TemporaryFolder();
        using var model = CalibrationModel.Load(folder.Path);
        var segments = Targets(model).Segments(model.Graph).CutAtEveryInput();

        // The scaled input follows from the table, which is too small to be worth carrying; the mask from the graph's input.
        CollectionAssert.AreEqual(
            new[] { "", "y0", "h1 x1", "h1 y1", "" }, segments.Select(segment => string.Join(' ', segment.Carried.Order())).ToArray());
    }

    [TestMethod]
    public void MomentsAreThoseOfADirectComputation()
    {
        using var folder = new TemporaryFolder();
        var path = CalibrationModel.Create().Save(folder.Path);
        var statistics = Gathered(path, folder, sequential: false);
        var whole = Whole(path, CalibrationModel.Sequences());
        foreach (var (weight, value) in new[] { ("w0.up", "x0"), ("w0.down", "y0"), ("w1.gate", "x1"), ("head", "h2") })
        {
            var (rows, k) = (whole[value], value[0] == 'y' ? 128 : CalibrationModel.Width);
            var found = statistics.Find(weight, k)!;
            var tokens = rows.Length / k;
            Assert.AreEqual(CalibrationModel.Sequences().Sum(sequence => sequence.Length), tokens);
            var squares = Enumerable.Range(0, k).Select(column => (float)(Column(column).Sum(x => (double)x * x) / tokens)).ToArray();
            Assert.IsLessThan(1e-6, FixtureRunner.RelativeError(squares, found.SecondMoments.ToArray()), weight);
            Assert.IsLessThan(1e-6, FixtureRunner.RelativeError([.. Enumerable.Range(0, k).Select(column => Column(column).Average(Math.Abs))], found.MeanAbs.ToArray()), weight);
            CollectionAssert.AreEqual(Enumerable.Range(0, k).Select(column => Column(column).Max(Math.Abs)).ToArray(), found.AbsMax.ToArray(), weight);

            IEnumerable<float> Column(int column) => Enumerable.Range(0, tokens).Select(row => rows[(row * k) + column]);
        }

        Assert.AreEqual(0, statistics.Find("w0.up", CalibrationModel.Width)!.SecondMoments.Span[CalibrationModel.DeadChannel], "a dead channel");
    }

    [TestMethod]
    [DataRow(1)]
    [DataRow(48)]
    [DataRow(70)]
    public void SumsOfProductsAreThoseOfADirectComputation(int k)
    {
        var random = new Random(5);
        float[] Rows(int count) => [.. Enumerable.Range(0, count * k).Select(_ => (float)random.NextDouble() - 0.3f)];
        (float[] A, float[] B)[] batches = [(Rows(33), Rows(33)), (Rows(1), Rows(1)), (Rows(600), Rows(600))];
        float[]? first = null;
        foreach (var threads in (int[])[1, 3])
        {
            var (gram, cross) = (new GramSum(k, symmetric: true), new GramSum(k, symmetric: false));
            foreach (var (a, b) in batches)
            {
                gram.Add(a, threads);
                cross.Add(a, b, threads);
            }

            var actual = gram.Mean(634).ToArray();
            Assert.IsLessThan(1e-6, FixtureRunner.RelativeError(Direct(batches, k, symmetric: true), actual));
            CollectionAssert.AreEqual(first ??= actual, actual, "threads");
            actual = cross.Mean(634).ToArray();
            Assert.IsLessThan(1e-6, FixtureRunner.RelativeError(Direct(batches, k, symmetric: false), actual));
            if (k == 1) continue;
            (actual[1], actual[k]) = (actual[k], actual[1]);
            Assert.IsGreaterThan(1e-5, FixtureRunner.RelativeError(Direct(batches, k, symmetric: false), actual), "a transposed result must show");
        }
    }

    private static float[] Direct((float[] A, float[] B)[] batches, int k, bool symmetric) =>
        [.. Enumerable.Range(0, k * k).Select(i => (float)(batches.Sum(batch => Enumerable.Range(0, batch.A.Length / k).Sum(
            row => (double)batch.A[(row * k) + (i / k)] * (symmetric ? batch.A : batch.B)[(row * k) + (i % k)])) / 634))];

    [TestMethod]
    public void WeightsSeeTheInputsThatQuantizedOnesGive()
    {
        using var folder = new TemporaryFolder();
        var path = CalibrationModel.Create().Save(folder.Path);
        var once = Gathered(path, folder, sequential: false);
        var sequential = Gathered(path, folder, sequential: true, output: "sequential.onnx");

        // The moments of the rewritten model's own inputs.
        var rewritten = Whole(folder.File("sequential.onnx"), CalibrationModel.Sequences());
        foreach (var (weight, value, k) in new[] { ("w0.down", "y0", 128), ("w1.up", "x1", CalibrationModel.Width), ("head", "h2", CalibrationModel.Width) })
        {
            var tokens = rewritten[value].Length / k;
            var squares = Enumerable.Range(0, k).Select(column => (float)(Enumerable.Range(0, tokens).Sum(row => Math.Pow(rewritten[value][(row * k) + column], 2)) / tokens)).ToArray();
            Assert.IsLessThan(1e-6, FixtureRunner.RelativeError(squares, sequential.Find(weight, k)!.SecondMoments.ToArray()), weight);
            Assert.IsGreaterThan(1e-4, FixtureRunner.RelativeError(squares, once.Find(weight, k)!.SecondMoments.ToArray()), $"{weight}: the original's inputs must differ");
        }

        CollectionAssert.AreEqual(once.Find("w0.up", 64)!.SecondMoments.ToArray(), sequential.Find("w0.up", 64)!.SecondMoments.ToArray(), "nothing is quantized before the first");
    }

    [TestMethod]
    public void TheResultDoesNotDependOnThreads()
    {
        using var folder = new TemporaryFolder();
        var path = CalibrationModel.Create().Save(folder.Path);
        foreach (var sequential in new[] { false, true })
        {
            byte[] Bytes(int threads)
            {
                using var model = OnnxModel.Load(path);
                var output = folder.File($"{threads}.onnx");
                ModelRewriter.Rewrite(model, Plan(model), output, Options(sequential) with { Threads = threads });
                return File.ReadAllBytes(output);
            }

            var one = Bytes(1);
            CollectionAssert.AreEqual(one, Bytes(2));
            CollectionAssert.AreEqual(one, Bytes(3));
        }
    }

    [TestMethod]
    [DataRow(false)]
    [DataRow(true)]
    public void CancelledRewriteLeavesNothing(bool sequential)
    {
        using var folder = new TemporaryFolder();
        var path = CalibrationModel.Create().Save(folder.Path);
        using var model = OnnxModel.Load(path);
        using var cancellation = new CancellationTokenSource();
        var stages = new List<string>();
        var progress = new Callback(value =>
        {
            stages.Add(value.Stage);
            if (value is { Stage: "calibrating", Done: > 0 }) cancellation.Cancel();
        });
        var options = Options(sequential) with { Progress = progress, CancellationToken = cancellation.Token };

        Assert.Throws<OperationCanceledException>(() => ModelRewriter.Rewrite(model, Plan(model), folder.File("out/model.onnx"), options));

        Assert.Contains("calibrating", stages);
        Assert.IsEmpty(Directory.EnumerateFileSystemEntries(folder.File("out")).ToList());
    }

    [TestMethod]
    public void WithoutTokenIdsItSaysWhy()
    {
        using var folder = new TemporaryFolder();
        var builder = new ModelBuilder().Input("x", Descriptions.ElementType.Float32, "n", 64).Output("y", Descriptions.ElementType.Float32, "n", 64)
            .Weight("w", Descriptions.ElementType.Float32, 1, 64, 64).Node("MatMul", ["x", "w"], ["y"]);
        var path = builder.Save(folder.Path);
        var options = new RewriteOptions { Calibration = new CalibrationOptions { Sequences = CalibrationModel.Sequences() } };
        using (var model = OnnxModel.Load(path))
        {
            var error = Assert.Throws<RunningException>(() => ModelRewriter.Rewrite(model, Plan(model), folder.File("a.onnx"), options));
            Assert.Contains("no integer input 'input_ids'", error.Message);
            Assert.IsFalse(File.Exists(folder.File("a.onnx")));
        }

        using var again = OnnxModel.Load(path);
        var result = ModelRewriter.Rewrite(again, Plan(again), folder.File("a.onnx"), options with { Calibration = options.Calibration! with { Required = false } });
        Assert.Contains("no integer input 'input_ids'", result.Calibration!.Fallback!);
        using var rounded = OnnxModel.Load(path);
        ModelRewriter.Rewrite(rounded, Plan(rounded, "rtn"), folder.File("b.onnx"));
        CollectionAssert.AreEqual(File.ReadAllBytes(folder.File("b.onnx")), File.ReadAllBytes(folder.File("a.onnx")), "rounded to nearest");
    }

    [TestMethod]
    public void CalibratedWeightsHaveTheLeastWeightedError()
    {
        using var folder = new TemporaryFolder();
        var path = CalibrationModel.Create().Save(folder.Path);
        foreach (var sequential in new[] { false, true })
        {
            using var model = OnnxModel.Load(path);
            var result = ModelRewriter.Rewrite(model, Plan(model), folder.File("w.onnx"), Options(sequential));
            Assert.AreEqual(5, result.Calibration!.Weights);
            Assert.IsEmpty(result.Calibration.Uncalibrated);
        }

        using var rounded = OnnxModel.Load(path);
        ModelRewriter.Rewrite(rounded, Plan(rounded, "rtn"), folder.File("r.onnx"));
        var reference = Whole(path, CalibrationModel.Sequences())["down0"];
        Assert.IsLessThan(
            FixtureRunner.RelativeError(reference, Whole(folder.File("r.onnx"), CalibrationModel.Sequences())["down0"]),
            FixtureRunner.RelativeError(reference, Whole(folder.File("w.onnx"), CalibrationModel.Sequences())["down0"]));
    }

    [TestMethod]
    public void WeightsThatCannotBeReachedAreNamedWithTheReason()
    {
        using var folder = new TemporaryFolder();
        var builder = CalibrationModel.Create(1).Output("branch", Descriptions.ElementType.Float32, "batch", "sequence", 64)
            .Initializer(new TensorProto { Name = "flag", DataType = (int)TensorProto.Types.DataType.Bool, RawData = ByteString.CopyFrom(1) })
            .Weight("shared", Descriptions.ElementType.Float32, 50, 64, 64)
            .Node("MatMul", ["h1", "shared"], ["outer"])
            .Node("If", ["flag"], ["branch"], ModelBuilder.Graph("then_branch", Branch(1)), ModelBuilder.Graph("else_branch", Branch(2)));
        foreach (var sequential in new[] { false, true })
        {
            using var model = builder.Load(folder.Path);
            var result = ModelRewriter.Rewrite(model, Plan(model), folder.File("out.onnx"), Options(sequential));
            Assert.AreEqual("inner1 inner2", string.Join(' ', result.Calibration!.Uncalibrated.Select(weight => weight.Name).Order()));
            Assert.Contains("body of an If", result.Calibration.Uncalibrated[0].Reason);
            Assert.AreEqual(4, result.Calibration.Weights);
        }

        static GraphProto Branch(int number) => ModelBuilder.Body($"branch{number}", body => body
            .Weight($"inner{number}", Descriptions.ElementType.Float32, 60 + number, 64, 64)
            .Node("MatMul", ["outer", $"inner{number}"], [$"product{number}"])
            .Node("MatMul", [$"product{number}", "shared"], [$"result{number}"])
            .Output($"result{number}", Descriptions.ElementType.Float32));
    }

    [TestMethod]
    public void AModelWritesTheSameTextAgain()
    {
        using var folder = new TemporaryFolder();
        var model = Path.Combine(TestFiles.Stories260K, "model.onnx");
        IReadOnlyList<long[]> Write(int seed, int threads) =>
            OwnTextWriter.Write(model, new OwnTextOptions { Sequences = 3, Length = 20, Seed = seed }, new RewriteOptions { Threads = threads }, folder.Path);

        var text = Write(1, 1);

        Assert.HasCount(3, text);
        Assert.IsTrue(text.All(sequence => sequence.Length == 20 && sequence.All(id => id is >= 0 and < 512)));
        foreach (var (again, sequence) in Write(1, 2).Zip(text)) CollectionAssert.AreEqual(sequence, again);
        CollectionAssert.AreNotEqual(text[0], Write(2, 1)[0], "another seed");
        CollectionAssert.AreNotEqual(text[0], text[1], "another sequence");
        Assert.IsEmpty(Directory.EnumerateFileSystemEntries(folder.Path).ToList(), "the copy is gone");
    }

    [TestMethod]
    public void AModelWithoutCacheSaysThatItCannotWriteText()
    {
        using var folder = new TemporaryFolder();
        var path = CalibrationModel.Create().Save(folder.Path);
        using var model = OnnxModel.Load(path);
        var error = Assert.Throws<RunningException>(
            () => ModelRewriter.Rewrite(model, Plan(model), folder.File("out.onnx"), new RewriteOptions { Calibration = new CalibrationOptions() }));
        Assert.Contains("has no KV cache", error.Message);
    }

    internal static QuantizationPlan Plan(OnnxModel model, string algorithm = "weighted") =>
        QuantizationPlan.Create(model, new PlanOptions { Algorithm = algorithm, HeadBits = 4, AccuracyLevel = 1 });

    internal static RewriteOptions Options(bool sequential, string? saveTo = null) => new()
    {
        Calibration = new CalibrationOptions { Sequences = CalibrationModel.Sequences(), Sequential = sequential, SaveTo = saveTo },
    };

    private static StatisticsFile Gathered(string path, TemporaryFolder folder, bool sequential, string output = "out.onnx")
    {
        using var model = OnnxModel.Load(path);
        var result = ModelRewriter.Rewrite(model, Plan(model), folder.File(output), Options(sequential, folder.File("stats")));
        Assert.AreEqual(sequential, result.Calibration!.Sequential);
        return StatisticsFile.Read(folder.File("stats"));
    }

    private static CalibrationTargets Targets(OnnxModel model)
    {
        using var changed = model.Clone();
        var plan = Plan(changed);
        var options = new RewriteOptions();
        return new CalibrationTargets(new PlanApplier(changed, plan, options).Apply(PackedWeights.Prepare(changed, plan, CancellationToken.None)));
    }

    private static Dictionary<string, float[]> InSegments(OnnxModel model, IReadOnlyList<long[]> sequences, long weightBytes, out int count)
    {
        var signature = ModelSignature.Of(model);
        var batches = SequenceBatches.Of(sequences, several: true).Select(item => new TokenBatch(signature, item.Ids, item.Batch, ModelConfiguration.Empty, "model")).ToList();
        var segmented = Targets(model).Segments(model.Graph);
        var segments = weightBytes == 0 ? segmented.CutAtEveryInput() : segmented.CutByWeight(weightBytes);
        using var stream = new ActivationStream(model, batches, new SessionSettings(), _ => throw new InvalidOperationException("nothing is generated"));
        var values = new Dictionary<string, List<float>>();
        foreach (var segment in segments)
        {
            stream.Open(segment);
            for (var batch = 0; batch < batches.Count; batch++)
            {
                stream.Run(batch, found =>
                {
                    foreach (var input in segment.Inputs)
                    {
                        if (!values.TryGetValue(input.Name, out var list)) values[input.Name] = list = [];
                        list.AddRange(found[input.Name].GetTensorDataAsSpan<float>());
                    }
                }, CancellationToken.None);
            }
        }

        foreach (var batch in batches) batch.Dispose();
        count = segments.Count;
        return values.ToDictionary(pair => pair.Key, pair => pair.Value.ToArray());
    }

    /// <summary>Values of a model, run whole in ONNX Runtime: rows of all sequences, one after the other.</summary>
    private static Dictionary<string, float[]> Whole(string path, IReadOnlyList<long[]> sequences)
    {
        var proto = ModelProto.Parser.ParseFrom(File.ReadAllBytes(path));
        var names = (Inputs + " down0").Split(' ').Where(name => proto.Graph.Node.Any(node => node.Output.Contains(name))).ToArray();
        proto.Graph.Output.AddRange(names.Select(name => new ValueInfoProto { Name = name }));
        using var session = SessionFactory.Open(proto.ToByteArray(), "whole", new SessionSettings());
        var values = names.ToDictionary(name => name, _ => new List<float>());
        using var options = new RunOptions();
        foreach (var ids in sequences)
        {
            using var input = OrtValue.CreateTensorValueFromMemory(ids, [1, ids.Length]);
            using var mask = OrtValue.CreateTensorValueFromMemory(ids.Select(_ => 1L).ToArray(), [1, ids.Length]);
            using var outputs = session.Run(options, ["input_ids", "attention_mask"], [input, mask], names);
            for (var i = 0; i < names.Length; i++) values[names[i]].AddRange(outputs[i].GetTensorDataAsSpan<float>());
        }

        return values.ToDictionary(pair => pair.Key, pair => pair.Value.ToArray());
    }

    private sealed class Callback(Action<RewriteProgress> report) : IProgress<RewriteProgress>
    {
        public void Report(RewriteProgress value) => report(value);
    }
}
