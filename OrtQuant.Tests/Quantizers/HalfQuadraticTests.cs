using OrtQuant.GraphRewriter.Quantizers;
using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Tests.Quantizers;

/// <summary>HQQ: zero points for the least sum of |error|^0.7.</summary>
[TestClass]
public sealed class HalfQuadraticTests
{
    [TestMethod]
    [DataRow(2)]
    [DataRow(3)]
    [DataRow(4)]
    public void ItLowersItsMetricAndNoGroupIsWorse(int bits)
    {
        var weight = SyntheticInputs.Weight(new WeightShape(30, 128), seed: 6);
        foreach (var zeroPoint in Enum.GetValues<ZeroPointKind>())
        {
            var parameters = new GroupParameters(bits, 32, zeroPoint);
            using var rounded = RoundToNearest.Instance.Quantize(weight, GroupScheme.Instance, parameters, new QuantizerContext("w"));
            using var moved = HalfQuadratic.Instance.Quantize(weight, GroupScheme.Instance, parameters, new QuantizerContext("w"));

            var (before, after) = (Metric(weight.ReadAll(), rounded.Grid), Metric(weight.ReadAll(), moved.Grid));
            foreach (var (one, other) in before.Zip(after)) Assert.IsLessThanOrEqualTo(one * 1.0001, other);
            if (zeroPoint == ZeroPointKind.Float) Assert.IsLessThan(0.99 * before.Sum(), after.Sum());
            if (zeroPoint == ZeroPointKind.None) Assert.AreEqual(before.Sum(), after.Sum());
        }
    }

    [TestMethod]
    public void ItsZeroPointIsNearTheBestOfASweep()
    {
        var weight = SyntheticInputs.Weight(new WeightShape(40, 32), seed: 9);
        var parameters = new GroupParameters(3, 32, ZeroPointKind.Float, OrtQuant.Descriptions.ElementType.Float32);
        using var rounded = (IAffineGrid)RoundToNearest.Instance.Quantize(weight, GroupScheme.Instance, parameters, new QuantizerContext("w")).Grid;
        using var moved = HalfQuadratic.Instance.Quantize(weight, GroupScheme.Instance, parameters, new QuantizerContext("w"));
        var values = weight.ReadAll();
        var (start, found, best) = (Metric(values, rounded).Sum(), Metric(values, moved.Grid).Sum(), 0.0);
        for (var n = 0; n < 40; n++)
        {
            var (scale, zeroPoint) = rounded.GetGroup(n, 0);
            best += Enumerable.Range(-100, 201).Min(step => Error(values.AsSpan(n * 32, 32), scale, zeroPoint + (step * 0.01)));
        }

        // A local method: it takes a part of what a sweep finds.
        Assert.IsGreaterThan(0.2 * (start - best), start - found);
    }

    private static double Error(ReadOnlySpan<float> values, double scale, double zeroPoint)
    {
        var sum = 0.0;
        foreach (var value in values)
        {
            var code = Math.Clamp(Math.Round((value / scale) + zeroPoint), 0, 7);
            sum += Math.Pow(Math.Abs(value - (scale * (code - zeroPoint))), 0.7);
        }

        return sum;
    }

    private static List<double> Metric(float[] values, IWeightGrid grid)
    {
        var k = (int)grid.Shape.K;
        var row = new float[k];
        var groups = new List<double>();
        for (var n = 0; n < grid.Shape.N; n++)
        {
            grid.Dequantize(n, row);
            for (var g = 0; g < grid.GroupCount; g++)
            {
                groups.Add(Enumerable.Range(g * grid.GroupSize, grid.GroupSize).Sum(i => Math.Pow(Math.Abs(values[(n * k) + i] - row[i]), 0.7)));
            }
        }

        return groups;
    }
}
