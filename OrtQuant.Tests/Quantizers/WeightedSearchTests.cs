using OrtQuant.GraphRewriter.Quantizers;
using OrtQuant.Schemes;
using OrtQuant.Tests.Schemes;

namespace OrtQuant.Tests.Quantizers;

/// <summary>The search weighted by second moments.</summary>
[TestClass]
public sealed class WeightedSearchTests
{
    public static IEnumerable<object[]> Samples => SchemeSuiteTests.Samples;

    [TestMethod]
    [DynamicData(nameof(Samples))]
    public void ItLowersTheWeightedError(string schemeName, SchemeParameters parameters)
    {
        var scheme = SchemeCatalog.Get(schemeName);
        var weight = SyntheticInputs.Weight(new WeightShape(45, 100), seed: 1);
        var inputs = SyntheticInputs.Create(100, seed: 2);
        var context = new QuantizerContext("w") { Statistics = inputs };

        using var rounded = RoundToNearest.Instance.Quantize(weight, scheme, parameters, context);
        using var searched = WeightedSearch.Instance.Quantize(weight, scheme, parameters, context);
        using var blind = WeightedSearch.Instance.Quantize(weight, scheme, parameters, new QuantizerContext("w"));

        var least = inputs.OutputError(weight, searched, diagonal: true);
        Assert.IsLessThan(inputs.OutputError(weight, rounded, diagonal: true), least);
        Assert.IsLessThan(inputs.OutputError(weight, blind, diagonal: true), least);
    }

    [TestMethod]
    public void MomentsThatSayNothingAreLeftAlone()
    {
        var scheme = SchemeCatalog.All[0];
        var weight = SyntheticInputs.Weight(new WeightShape(20, 70), seed: 3);
        using var blind = WeightedSearch.Instance.Quantize(weight, scheme, scheme.DefaultParameters, new QuantizerContext("w"));
        using var zeros = WeightedSearch.Instance.Quantize(
            weight, scheme, scheme.DefaultParameters, new QuantizerContext("w") { Statistics = SyntheticInputs.Of(new float[70 * 70], 70) });

        Assert.AreEqual(blind.RelativeError, zeros.RelativeError);
    }

    [TestMethod]
    [DataRow(float.NaN)]
    [DataRow(float.PositiveInfinity)]
    [DataRow(-1f)]
    public void BadMomentsAreNamed(float bad)
    {
        var gram = new float[70 * 70];
        gram[(69 * 70) + 69] = bad;
        var error = Assert.ThrowsExactly<OrtQuantException>(() => Quantize(SyntheticInputs.Of(gram, 70)));
        Assert.Contains("'layer.weight'", error.Message);
        Assert.Contains("second moment 69", error.Message);

        error = Assert.ThrowsExactly<OrtQuantException>(() => Quantize(SyntheticInputs.Create(64, seed: 1)));
        Assert.Contains("64 second moments", error.Message);
        Assert.Contains("must be 70", error.Message);
    }

    private static void Quantize(IActivationStatistics statistics)
    {
        var scheme = SchemeCatalog.All[0];
        WeightedSearch.Instance.Quantize(
            SyntheticInputs.Weight(new WeightShape(5, 70), seed: 3), scheme, scheme.DefaultParameters, new QuantizerContext("layer.weight") { Statistics = statistics });
    }
}
