using OrtQuant.GraphRewriter.Cli;
using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Evaluation;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Planning.Allocation;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.GraphRewriter.Transforms;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Planning;

/// <summary>Bits given to the weights of the bundled model within a budget.</summary>
[TestClass]
public sealed class AllocationTests
{
    private static readonly string Model = Path.Combine(TestFiles.Stories260K, "model.onnx");

    [TestMethod]
    public void AverageIsKeptUsedAndTheSameEveryTime()
    {
        using var model = OnnxModel.Load(Model);
        var before = double.PositiveInfinity;
        foreach (var bits in new[] { 3.2, 4.25, 5.5, 7.5 })
        {
            var plan = Create(model, new BitBudget(bits, null), SensitivitySource.Weights);
            Assert.AreEqual(plan.ToJson().ToJsonString(), Create(model, new BitBudget(bits, null), SensitivitySource.Weights).ToJson().ToJsonString());
            var average = Average(plan);
            Assert.IsLessThanOrEqualTo(bits, average);
            Assert.IsGreaterThan(bits - 0.1, average, "a budget is there to be used");
            Assert.IsGreaterThan(1, plan.Weights.Select(weight => weight.Parameters).Distinct().Count());

            // The whole of it goes with its parts, and a larger budget never loses more.
            plan.Check();
            var loss = plan.Weights.Sum(weight => weight.Shape.Count * Math.Pow(4, -((GroupParameters)weight.Parameters).Bits));
            Assert.IsLessThan(before, loss);
            before = loss;
        }
    }

    [TestMethod]
    public void JoinedWeightsAreOneAndThePlanCanBeReadBack()
    {
        using var model = OnnxModel.Load(Model);
        var plan = Create(model, new BitBudget(4.25, null), SensitivitySource.Weights);
        foreach (var merge in plan.Transforms.OfType<MergeLinears>())
        {
            Assert.HasCount(1, merge.Weights.Select(name => plan.Weights.Single(weight => weight.Name == name).Parameters).Distinct().ToArray());
        }

        Assert.IsTrue(plan.Weights.All(weight => weight.Why.Contains("loss", StringComparison.Ordinal) && weight.Why.Contains("MB", StringComparison.Ordinal)));
        var read = QuantizationPlan.FromJson(plan.ToJson());
        CollectionAssert.AreEqual(plan.Weights.Select(weight => weight.Parameters).ToArray(), read.Weights.Select(weight => weight.Parameters).ToArray());
        read.CheckAgainst(model);
    }

    [TestMethod]
    [DataRow("92MB", 92_000_000)]
    [DataRow("1.5 GiB", 1_610_612_736)]
    [DataRow("12", 12)]
    [DataRow("3kb", 3000)]
    public void SizesAreReadAsTheyAreWritten(string text, long bytes) => Assert.AreEqual(bytes, AllocationArguments.Bytes(text));

    [TestMethod]
    [DataRow(350_000)]
    [DataRow(280_000)]
    [DataRow(220_000)]
    public void OutputIsNotLargerThanAsked(int maxBytes)
    {
        using var folder = new TemporaryFolder();
        var output = folder.File("model.onnx");
        using (var model = OnnxModel.Load(Model))
        {
            ModelRewriter.Rewrite(model, Create(model, new BitBudget(null, maxBytes), SensitivitySource.Weights), output);
        }

        var bytes = Directory.GetFiles(folder.Path).Sum(file => new FileInfo(file).Length);
        Assert.IsLessThanOrEqualTo(maxBytes, bytes);
        Assert.IsGreaterThan(0.93 * maxBytes, bytes, "the estimate of a small graph is a few percent too high at most");
    }

    [TestMethod]
    public void WhatCannotFitSaysWhatCould()
    {
        using var model = OnnxModel.Load(Model);
        Assert.Contains("at least", Assert.ThrowsExactly<PlanException>(() => Create(model, new BitBudget(1.5, null), SensitivitySource.Weights)).Message);
        Assert.Contains("at least", Assert.ThrowsExactly<PlanException>(() => Create(model, new BitBudget(null, 100_000), SensitivitySource.Weights)).Message);
        var options = new PlanOptions { Only = new("nothing like this") };
        Assert.ThrowsExactly<PlanException>(() => AllocatedPlan.Create(model, options, new AllocationOptions(new BitBudget(4.5, null), SensitivitySource.Weights)));
    }

    [TestMethod]
    public void HeadTakesPartUnlessItsBitsAreGiven()
    {
        using var model = OnnxModel.Load(Model);
        var free = Create(model, new BitBudget(3.5, null), SensitivitySource.Weights);
        var head = free.Weights[^1];
        Assert.AreNotEqual(8, ((GroupParameters)head.Parameters).Bits);
        var given = AllocatedPlan.Create(
            model, new PlanOptions { HeadBits = 8, GroupSize = 64 }, new AllocationOptions(new BitBudget(4.5, null), SensitivitySource.Weights));
        Assert.AreEqual(new GroupParameters(8, 64, ZeroPointKind.None), given.Weights.Single(weight => weight.Name == head.Name).Parameters);
        Assert.IsTrue(given.Weights.All(weight => ((GroupParameters)weight.Parameters).GroupSize == 64));
        Assert.IsLessThanOrEqualTo(4.5, Average(given));
    }

    [TestMethod]
    public void MeasuredSensitivitiesSpendBitsBetterThanEvenly()
    {
        using var folder = new TemporaryFolder();
        var sequences = OwnText.Sample(Model, new SessionSettings { Threads = 1 }, seed: 11, default, sequences: 4)!;
        NamedModel Rewritten(string name, Func<OnnxModel, QuantizationPlan> plan)
        {
            using var model = OnnxModel.Load(Model);
            ModelRewriter.Rewrite(model, plan(model), folder.File($"{name}.onnx"));
            return new NamedModel(name, folder.File($"{name}.onnx"));
        }

        // The even one: 3 bits in groups of 32, and as much for the head.
        var options = new PlanOptions { Bits = 3, HeadBits = 3 };
        var average = 0.0;
        var even = Rewritten("even", model =>
        {
            var plan = QuantizationPlan.Create(model, options);
            average = Average(plan);
            return plan;
        });
        var measured = Rewritten("measured", model => Create(model, new BitBudget(average, null), SensitivitySource.Measured));
        var result = ModelEvaluator.Evaluate(
            new NamedModel("original", Model), [even, measured], new EvaluationOptions { Sequences = sequences, Session = new SessionSettings { Threads = 1 } });

        Assert.IsLessThanOrEqualTo(result.Models[0].BitsPerWeight!.Value, result.Models[1].BitsPerWeight!.Value);
        Assert.IsLessThan(0.92 * result.Models[0].Fidelity!.Divergence.Mean, result.Models[1].Fidelity!.Divergence.Mean);
    }

    private static QuantizationPlan Create(OnnxModel model, BitBudget budget, SensitivitySource sensitivity) =>
        AllocatedPlan.Create(model, new PlanOptions(), new AllocationOptions(budget, sensitivity));

    // Weights that are joined lie in one tensor, whose padding is shared: less than the sum of the parts by a little.
    private static double Average(QuantizationPlan plan)
    {
        using var model = OnnxModel.Load(Model);
        var weights = PackedWeights.Prepare(model, plan, default).All;
        var bytes = weights.Sum(weight => SchemeCatalog.Get(weight.Plan.Scheme).Tensors(weight.Shape, weight.Plan.Parameters).Sum(tensor => tensor.ByteLength));
        return bytes * 8.0 / weights.Sum(weight => weight.Shape.Count);
    }
}
