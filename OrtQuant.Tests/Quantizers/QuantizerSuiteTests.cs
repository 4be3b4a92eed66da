using OrtQuant.GraphRewriter.Quantizers;
using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Schemes;

namespace OrtQuant.Tests.Quantizers;

/// <summary>What every algorithm of the catalog must do, with every scheme, without statistics.</summary>
[TestClass]
public sealed class QuantizerSuiteTests
{
    public static IEnumerable<object[]> Pairs =>
        from quantizer in QuantizerCatalog.All
        from scheme in SchemeCatalog.All
        from parameters in scheme.Samples
        select new object[] { quantizer.Name, scheme.Name, parameters };

    [TestMethod]
    public void NamesAreUniqueAndUnknownOnesAnswered()
    {
        CollectionAssert.AllItemsAreUnique(QuantizerCatalog.All.Select(quantizer => quantizer.Name).ToList());
        foreach (var quantizer in QuantizerCatalog.All)
        {
            Assert.AreSame(quantizer, QuantizerCatalog.Get(quantizer.Name));
        }

        var error = Assert.ThrowsExactly<OrtQuantException>(() => QuantizerCatalog.Get("nope"));
        Assert.Contains("'nope'", error.Message);
        Assert.Contains("rtn", error.Message);
    }

    [TestMethod]
    [DynamicData(nameof(Pairs))]
    public void TheReportedErrorIsThatOfTheDecodedWeight(string quantizerName, string schemeName, SchemeParameters parameters)
    {
        var (quantizer, scheme) = (QuantizerCatalog.Get(quantizerName), SchemeCatalog.Get(schemeName));
        var weight = RandomWeight(new WeightShape(45, 100), seed: 1);

        var quantized = quantizer.Quantize(weight, scheme, parameters, new QuantizerContext("w"));

        var decoded = new float[weight.Shape.Count];
        scheme.Decode([.. scheme.Encode(quantized.Grid).Select(bytes => (ReadOnlyMemory<byte>)bytes)], weight.Shape, parameters, decoded);
        var values = weight.ReadAll();
        var difference = values.Zip(decoded, (value, other) => Math.Pow(value - other, 2)).Sum();
        var norm = values.Sum(value => Math.Pow(value, 2));
        Assert.AreEqual(Math.Sqrt(difference / norm), quantized.RelativeError, 1e-6);
        Assert.IsInRange(1e-6, 0.7, quantized.RelativeError);
    }

    [TestMethod]
    [DynamicData(nameof(Pairs))]
    public void TheResultDoesNotDependOnThreadsOrBlocks(string quantizerName, string schemeName, SchemeParameters parameters)
    {
        var (quantizer, scheme) = (QuantizerCatalog.Get(quantizerName), SchemeCatalog.Get(schemeName));
        var weight = RandomWeight(new WeightShape(200, 70), seed: 2);
        var expected = quantizer.Quantize(weight, scheme, parameters, new QuantizerContext("w") { Threads = 1 });
        var bytes = scheme.Encode(expected.Grid);
        foreach (var threads in (int[])[2, 5])
        {
            var actual = quantizer.Quantize(weight, scheme, parameters, new QuantizerContext("w") { Threads = threads });

            Assert.AreEqual(expected.RelativeError, actual.RelativeError);
            foreach (var (one, other) in bytes.Zip(scheme.Encode(actual.Grid)))
            {
                CollectionAssert.AreEqual(one, other);
            }
        }

        // Whole rows are one block: a weight of one block and one of many agree.
        var single = quantizer.Quantize(new RowSlice(weight, 64, 1), scheme, parameters, new QuantizerContext("w"));
        var row = new float[weight.Shape.K];
        var rowOfWhole = new float[weight.Shape.K];
        single.Grid.Dequantize(0, row);
        expected.Grid.Dequantize(64, rowOfWhole);
        CollectionAssert.AreEqual(rowOfWhole, row);
    }

    [TestMethod]
    [DynamicData(nameof(Pairs))]
    public void BadWeightsAreNamed(string quantizerName, string schemeName, SchemeParameters parameters)
    {
        var (quantizer, scheme) = (QuantizerCatalog.Get(quantizerName), SchemeCatalog.Get(schemeName));
        foreach (var bad in (float[])[float.NaN, float.PositiveInfinity, float.NegativeInfinity])
        {
            var values = RandomWeight(new WeightShape(70, 40), seed: 3).ReadAll();
            values[(66 * 40) + 39] = bad;

            var error = Assert.ThrowsExactly<OrtQuantException>(
                () => quantizer.Quantize(new DenseWeight(new(70, 40), values), scheme, parameters, new QuantizerContext("model.layers.3.mlp.down_proj")));

            Assert.Contains("model.layers.3.mlp.down_proj", error.Message);
            Assert.Contains("row 66", error.Message);
        }
    }

    [TestMethod]
    [DynamicData(nameof(Pairs))]
    public void AWeightOfZerosCostsNothing(string quantizerName, string schemeName, SchemeParameters parameters)
    {
        var (quantizer, scheme) = (QuantizerCatalog.Get(quantizerName), SchemeCatalog.Get(schemeName));
        var shape = new WeightShape(5, 33);

        var quantized = quantizer.Quantize(new DenseWeight(shape, new float[shape.Count]), scheme, parameters, new QuantizerContext("w"));

        Assert.AreEqual(0, quantized.RelativeError);
        var row = new float[33];
        quantized.Grid.Dequantize(4, row);
        CollectionAssert.AreEqual(new float[33], row);
    }

    [TestMethod]
    public void CancellationStops()
    {
        var weight = RandomWeight(new WeightShape(200, 70), seed: 2);
        var scheme = SchemeCatalog.All[0];
        using var source = new CancellationTokenSource();
        source.Cancel();
        foreach (var quantizer in QuantizerCatalog.All)
        {
            Assert.Throws<OperationCanceledException>(
                () => quantizer.Quantize(weight, scheme, scheme.DefaultParameters, new QuantizerContext("w") { CancellationToken = source.Token }));
        }
    }

    private static DenseWeight RandomWeight(WeightShape shape, int seed)
    {
        var random = new Random(seed);
        var values = new float[shape.Count];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = (float)((random.NextDouble() - 0.5) * Math.Exp(2 * random.NextDouble()) * 0.05);
        }

        return new DenseWeight(shape, values);
    }
}
