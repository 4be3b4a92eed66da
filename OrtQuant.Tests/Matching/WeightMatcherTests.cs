using Onnx;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Matching;
using OrtQuant.Schemes;
using OrtQuant.Tests.Support;
using static OrtQuant.Tests.Support.ModelBuilder;

namespace OrtQuant.Tests.Matching;

[TestClass]
public sealed class WeightMatcherTests
{
    private const ElementType Half = ElementType.Float16;

    [TestMethod]
    public void MatMulReadsAWeightAsStored()
    {
        var weight = OnlyWeight(Linear().Weight("w", Half, 1, 64, 48).Node("MatMul", ["x", "w"], ["y"]));
        Assert.AreEqual("w", weight.Name);
        Assert.AreEqual(new WeightShape(48, 64), weight.Matrix.Shape);
        Assert.IsTrue(weight.Matrix.StoredTransposed);
        Assert.AreEqual(Half, weight.Matrix.Type);
        Assert.AreEqual("x", weight.Linears[0].X.Name);
        Assert.AreEqual("y", weight.Linears[0].Y.Name);
    }

    [TestMethod]
    public void TransposeIsLookedThrough()
    {
        var weight = OnlyWeight(Linear().Weight("w", Half, 1, 48, 64)
            .Node("Transpose", ["w"], ["t"], Ints("perm", 1, 0)).Node("Identity", ["t"], ["i"]).Node("MatMul", ["x", "i"], ["y"]));
        Assert.AreEqual(new WeightShape(48, 64), weight.Matrix.Shape);
        Assert.IsFalse(weight.Matrix.StoredTransposed);
    }

    [TestMethod]
    public void CastGivesTheReadersType()
    {
        var weight = OnlyWeight(Linear().Weight("w", ElementType.Float32, 1, 64, 48)
            .Node("Cast", ["w"], ["c"], Int("to", (long)Half)).Node("MatMul", ["x", "c"], ["y"]));
        Assert.AreEqual(Half, weight.Matrix.Type);
        Assert.AreEqual(ElementType.Float32, weight.Matrix.StoredType);
    }

    [TestMethod]
    public void ReshapeOfContiguousDimensionsIsLookedThrough()
    {
        var weight = OnlyWeight(Linear().Weight("w", Half, 1, 4, 16, 48)
            .Initializer(Tensor("shape", ElementType.Int64, [2], [0 + 64, -1])).Node("Reshape", ["w", "shape"], ["r"]).Node("MatMul", ["x", "r"], ["y"]));
        Assert.AreEqual(new WeightShape(48, 64), weight.Matrix.Shape);
    }

    [TestMethod]
    public void ReshapeOfATransposeIsNoMatrixInMemory() => AssertSkipped(
        Linear().Weight("w", Half, 1, 48, 64)
            .Node("Transpose", ["w"], ["t"], Ints("perm", 1, 0))
            .Initializer(Tensor("shape", ElementType.Int64, [2], [48, 64])).Node("Reshape", ["t", "shape"], ["r"]).Node("MatMul", ["x", "r"], ["y"]),
        "MatMul",
        "weight is behind Reshape '/r/Reshape', which rearranges it");

    [TestMethod]
    public void ConstantNodeIsAWeight()
    {
        var weight = OnlyWeight(Linear().Node("Constant", [], ["w"], Constant(Random("", Half, 1, 64, 48))).Node("MatMul", ["x", "w"], ["y"]));
        Assert.AreEqual("w", weight.Name);
    }

    [TestMethod]
    public void BiasIsTakenFromTheAddThatFollows()
    {
        var weight = OnlyWeight(Linear().Weight("w", Half, 1, 64, 48).Weight("b", Half, 2, 48)
            .Node("MatMul", ["x", "w"], ["m"]).Node("Identity", ["b"], ["i"]).Node("Add", ["i", "m"], ["y"]));
        Assert.AreEqual("b", weight.Linears[0].Bias!.View.Root.Name);
        Assert.AreEqual("y", weight.Linears[0].Y.Name);
    }

    [TestMethod]
    public void AddOfAnActivationIsNoBias()
    {
        var weight = OnlyWeight(Linear().Input("r", Half, "b", "s", 48).Weight("w", Half, 1, 64, 48)
            .Node("MatMul", ["x", "w"], ["m"]).Node("Add", ["m", "r"], ["y"]));
        Assert.IsNull(weight.Linears[0].Bias);
        Assert.AreEqual("m", weight.Linears[0].Y.Name);
    }

    [TestMethod]
    public void BiasStaysWhereTheProductIsReadTwice()
    {
        var weight = OnlyWeight(Linear().Weight("w", Half, 1, 64, 48).Weight("b", Half, 2, 48)
            .Node("MatMul", ["x", "w"], ["m"]).Node("Add", ["m", "b"], ["y"]).Node("Relu", ["m"], ["z"]).Output("z", Half, "b", "s", 48));
        Assert.IsNull(weight.Linears[0].Bias);
    }

    [TestMethod]
    public void BiasThatWidensTheResultStays()
    {
        var weight = OnlyWeight(Linear().Weight("w", Half, 1, 64, 48).Weight("b", Half, 2, 5, 1, 1, 48)
            .Node("MatMul", ["x", "w"], ["m"]).Node("Add", ["m", "b"], ["y"]));
        Assert.IsNull(weight.Linears[0].Bias);
    }

    [TestMethod]
    [DataRow(0, 0)]
    [DataRow(0, 1)]
    [DataRow(1, 0)]
    [DataRow(1, 1)]
    public void GemmFlagsAreRead(int transA, int transB)
    {
        var weight = OnlyWeight(Matrix(transA != 0)
            .Weight("w", Half, 1, transB != 0 ? [48, 64] : [64, 48]).Weight("c", Half, 2, 1, 48)
            .Node("Gemm", ["x", "w", "c"], ["y"], Int("transA", transA), Int("transB", transB), Float("alpha", 0.5f), Float("beta", 2)));
        var linear = weight.Linears[0];
        Assert.AreEqual(new WeightShape(48, 64), weight.Matrix.Shape);
        Assert.AreEqual(transB == 0, weight.Matrix.StoredTransposed);
        Assert.AreEqual(transA != 0, linear.TransposeX);
        Assert.AreEqual(0.5f, weight.Matrix.Scale);
        Assert.AreEqual(2, linear.Bias!.Scale);
    }

    [TestMethod]
    public void GemmAddsAFullMatrixByItself()
    {
        var linear = OnlyWeight(Matrix().Weight("w", Half, 1, 64, 48).Weight("c", Half, 2, 7, 48)
            .Node("Gemm", ["x", "w", "c"], ["y"], Float("beta", 3))).Linears[0];
        Assert.IsNull(linear.Bias);
        Assert.AreEqual("c", linear.Addend!.Value.Value.Name);
        Assert.AreEqual(3, linear.Addend.Value.Scale);
    }

    [TestMethod]
    public void GemmWithBetaZeroHasNoBias()
    {
        var linear = OnlyWeight(Matrix().Weight("w", Half, 1, 64, 48).Weight("c", Half, 2, 48)
            .Node("Gemm", ["x", "w", "c"], ["y"], Float("beta", 0))).Linears[0];
        Assert.IsNull(linear.Bias);
        Assert.IsNull(linear.Addend);
    }

    [TestMethod]
    public void GemmWithAlphaZeroIsLeftAlone() => AssertSkipped(
        Matrix().Weight("w", Half, 1, 64, 48).Node("Gemm", ["x", "w"], ["y"], Float("alpha", 0)),
        "Gemm",
        "Gemm has alpha 0; it must be finite and not 0");

    [TestMethod]
    public void WeightReadTwiceIsOneWeight()
    {
        var weight = OnlyWeight(Linear().Weight("w", Half, 1, 64, 64).Node("MatMul", ["x", "w"], ["m"]).Node("MatMul", ["m", "w"], ["y"]));
        Assert.AreEqual(2, weight.Linears.Count);
    }

    [TestMethod]
    public void WeightReadBothWaysRoundIsTwoWeights()
    {
        var matched = Match(Linear().Weight("w", Half, 1, 64, 64).Node("Transpose", ["w"], ["t"])
            .Node("MatMul", ["x", "w"], ["m"]).Node("MatMul", ["m", "t"], ["y"]));
        CollectionAssert.AreEqual(new[] { "w", "w#2" }, matched.Weights.Select(weight => weight.Name).ToArray());
        Assert.AreNotEqual(matched.Weights[0].Matrix.StoredTransposed, matched.Weights[1].Matrix.StoredTransposed);
    }

    [TestMethod]
    [DataRow(true)]
    [DataRow(false)]
    public void EmbeddingIsTheHeadsWeight(bool tableIsStored)
    {
        // Either the table is stored and the head reads its transpose, or the other way round.
        var model = new ModelBuilder().Input("ids", ElementType.Int64, "b", "s").Output("y", Half, "b", "s", 96)
            .Weight("e", Half, 1, tableIsStored ? [96, 64] : [64, 96]).Node("Transpose", ["e"], ["t"], Ints("perm", 1, 0))
            .Node("Gather", [tableIsStored ? "e" : "t", "ids"], ["x"]).Node("MatMul", ["x", tableIsStored ? "t" : "e"], ["y"]);
        var weight = OnlyWeight(model);
        Assert.AreEqual(new WeightShape(96, 64), weight.Matrix.Shape);
        Assert.AreEqual(!tableIsStored, weight.Matrix.StoredTransposed);
        Assert.AreEqual(1, weight.Linears.Count);
        Assert.AreEqual(1, weight.Tables.Count);
    }

    [TestMethod]
    public void AttentionIsNotMentioned()
    {
        var matched = Match(Linear().Input("k", Half, "b", 64, "s").Node("MatMul", ["x", "k"], ["y"]));
        Assert.AreEqual(0, matched.Weights.Count);
        Assert.AreEqual(0, matched.Skipped.Count);
    }

    [TestMethod]
    public void ConstantOnTheLeftIsLeftAlone() => AssertSkipped(
        Linear().Weight("w", Half, 1, 48, 7).Node("MatMul", ["w", "x"], ["y"]),
        "MatMul",
        "constant on the X side, which must be an activation");

    [TestMethod]
    public void WeightThatIsAGraphInputIsLeftAlone() => AssertSkipped(
        Linear().Input("w", Half, 64, 48).Weight("w", Half, 1, 64, 48).Node("MatMul", ["x", "w"], ["y"]),
        "MatMul",
        "weight 'w' is also a graph input, so a caller may replace it; it must be an initializer only");

    [TestMethod]
    public void ExpertWeightsAreLeftAlone() => AssertSkipped(
        Linear().Weight("w", Half, 1, 8, 64, 48).Node("MatMul", ["x", "w"], ["y"]),
        "MatMul",
        "weight has shape [8, 64, 48], a matrix for each batch or expert; it must be one matrix");

    [TestMethod]
    public void VectorIsLeftAlone() => AssertSkipped(
        Linear().Weight("w", Half, 1, 64).Node("MatMul", ["x", "w"], ["y"]),
        "MatMul",
        "weight has shape [64]; it must be a matrix");

    [TestMethod]
    public void LeadingOneNeedsAsManyDimensionsOfX()
    {
        Assert.AreEqual(new WeightShape(48, 64), OnlyWeight(Linear().Weight("w", Half, 1, 1, 64, 48).Node("MatMul", ["x", "w"], ["y"])).Matrix.Shape);
        AssertSkipped(
            Matrix().Weight("w", Half, 1, 1, 64, 48).Node("MatMul", ["x", "w"], ["y"]),
            "MatMul",
            "weight has 3 dimensions, which the result takes over unless X has as many; X has 2");
    }

    [TestMethod]
    public void IntegerWeightIsLeftAlone() => AssertSkipped(
        new ModelBuilder().Input("x", ElementType.Int32, "b", 64).Output("y", ElementType.Int32, "b", 48)
            .Weight("w", ElementType.Int32, 1, 64, 48).Node("MatMul", ["x", "w"], ["y"]),
        "MatMul",
        "weight is int32; it must be float16, bfloat16, float32 or float64");

    [TestMethod]
    public void QuantizedProductIsLeftAlone() => AssertSkipped(
        new ModelBuilder().Input("x", ElementType.Int8, "b", 64).Output("y", ElementType.Int32, "b", 48)
            .Weight("w", ElementType.Int8, 1, 64, 48).Node("MatMulInteger", ["x", "w"], ["y"]),
        "MatMulInteger",
        "its weight is int8 already and its activations are quantized by nodes of the graph");

    [TestMethod]
    public void BranchesOfIfAreSearched()
    {
        var branch = (string name, string weight) => Body(name, body => body.Weight($"{name}_own", Half, 3, 64, 48)
            .Node("MatMul", ["x", weight], [$"{name}_a"]).Node("MatMul", ["x", $"{name}_own"], [$"{name}_b"])
            .Node("Add", [$"{name}_a", $"{name}_b"], [$"{name}_y"]).Output($"{name}_y", Half, "b", "s", 48));
        var matched = Match(Linear().Input("flag", ElementType.Bool).Weight("w", Half, 1, 64, 48)
            .Node("If", ["flag"], ["y"], Graph("then_branch", branch("then", "w")), Graph("else_branch", branch("else", "w"))));
        CollectionAssert.AreEquivalent(new[] { "w", "then_own", "else_own" }, matched.Weights.Select(weight => weight.Name).ToArray());
        Assert.AreEqual(2, matched.Weights.Single(weight => weight.Name == "w").Linears.Count);
    }

    private static ModelBuilder Linear() => new ModelBuilder().Input("x", Half, "b", "s", 64).Output("y", Half, "b", "s", 48);

    private static ModelBuilder Matrix(bool transposed = false) =>
        new ModelBuilder().Input("x", Half, transposed ? [64, 7] : [7, 64]).Output("y", Half, 7, 48);

    private static MatchedWeight OnlyWeight(ModelBuilder builder)
    {
        var matched = Match(builder);
        Assert.AreEqual(0, matched.Skipped.Count, string.Join("; ", matched.Skipped));
        Assert.AreEqual(1, matched.Weights.Count);
        return matched.Weights[0];
    }

    private static void AssertSkipped(ModelBuilder builder, string op, string reason)
    {
        var matched = Match(builder);
        Assert.AreEqual(0, matched.Weights.Count);
        Assert.AreEqual(1, matched.Skipped.Count);
        Assert.AreEqual(op, matched.Skipped[0].Op);
        Assert.AreEqual(reason, matched.Skipped[0].Reason);
    }

    private static MatchedModel Match(ModelBuilder builder)
    {
        using var folder = new TemporaryFolder();
        var model = builder.Load(folder.Path);
        return WeightMatcher.Match(model);
    }
}
