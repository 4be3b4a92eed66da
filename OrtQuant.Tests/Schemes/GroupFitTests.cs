using OrtQuant.Descriptions;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Tests.Schemes;

/// <summary>How scheme <c>group</c> chooses scales, zero points and codes: ranges, extremes of the number formats, bad values.</summary>
[TestClass]
public sealed class GroupFitTests
{
    private const int GroupSize = 16;

    public static IEnumerable<object[]> Parameters =>
        from bits in (int[])[2, 3, 4, 8]
        from zeroPoint in Enum.GetValues<ZeroPointKind>()
        from scaleType in (ElementType[])[ElementType.Float16, ElementType.Float32]
        select new object[] { new GroupParameters(bits, GroupSize, zeroPoint, scaleType) };

    [TestMethod]
    [DynamicData(nameof(Parameters))]
    public void AGroupOfZerosStaysZero(GroupParameters parameters)
    {
        var (grid, dequantized) = Quantize(new float[GroupSize], parameters);

        Assert.AreEqual(0f, grid.GetGroup(0, 0).Scale);
        CollectionAssert.AreEqual(new float[GroupSize], dequantized);
    }

    [TestMethod]
    [DynamicData(nameof(Parameters))]
    public void AConstantGroupKeepsItsValue(GroupParameters parameters)
    {
        foreach (var value in (float[])[1f, -1f, 0.3f, -0.3f, 1e-3f, 100f])
        {
            var (_, dequantized) = Quantize(Enumerable.Repeat(value, GroupSize), parameters);

            foreach (var actual in dequantized)
            {
                Assert.AreEqual(value, actual, Math.Abs(value) * 1e-3f, $"{value}");
            }
        }
    }

    /// <summary>
    /// Nothing is farther from its code than half a step (a whole step at the short end of a symmetric grid) and what rounding the
    /// scale leaves of the range, from the smallest numbers that the type of the scales can hold to the largest.
    /// </summary>
    [TestMethod]
    [DynamicData(nameof(Parameters))]
    public void TheErrorIsAtMostHalfAStep(GroupParameters parameters)
    {
        var random = new Random(1);
        for (var exponent = -9.0; exponent < 4.5; exponent += 0.05)
        {
            var magnitude = Math.Pow(10, exponent);
            var values = Enumerable.Range(0, GroupSize).Select(_ => (float)(magnitude * ((2 * random.NextDouble()) - 1.2))).ToArray();

            var (grid, dequantized) = Quantize(values, parameters);
            var (scale, zeroPoint) = grid.GetGroup(0, 0);

            var step = Math.Abs(scale);
            var steps = parameters.ZeroPoint == ZeroPointKind.None ? 1 : 0.5;

            // A float16 scale may be an eighth of a step short over 255 steps, a float16 zero point is itself rounded to 11 bits.
            var slack = (parameters.ScaleType == ElementType.Float16 ? 0.125 : 0) + (parameters.ZeroPoint == ZeroPointKind.Float && parameters.ScaleType == ElementType.Float16 ? Math.Abs(zeroPoint) / 2048 : 0) + 1e-3;
            Assert.IsGreaterThan(0f, step);
            for (var i = 0; i < values.Length; i++)
            {
                Assert.IsLessThanOrEqualTo((steps + slack) * step, Math.Abs(values[i] - dequantized[i]), $"{values[i]:g9} with scale {scale:g9}, zero point {zeroPoint}");
            }
        }
    }

    [TestMethod]
    [DynamicData(nameof(Parameters))]
    public void ScaleAndZeroPointAreAsTheyWillBeStored(GroupParameters parameters)
    {
        var random = new Random(2);
        for (var i = 0; i < 200; i++)
        {
            var values = Enumerable.Range(0, GroupSize).Select(_ => (float)random.NextDouble() - 0.3f).ToArray();
            var importance = Enumerable.Range(0, GroupSize).Select(_ => (float)random.NextDouble()).ToArray();
            foreach (var weights in (float[][])[[], importance])
            {
                var grid = Grid(parameters);
                grid.Fit(0, 0, values, weights);
                var (scale, zeroPoint) = grid.GetGroup(0, 0);

                if (parameters.ScaleType == ElementType.Float16)
                {
                    Assert.AreEqual((float)(Half)scale, scale);
                    Assert.AreEqual((float)(Half)zeroPoint, zeroPoint);
                }

                if (parameters.ZeroPoint != ZeroPointKind.Float)
                {
                    Assert.AreEqual(MathF.Round(zeroPoint), zeroPoint);
                    Assert.IsInRange(0f, grid.MaxCode, zeroPoint);
                }
            }
        }
    }

    [TestMethod]
    public void ZeroIsACodeWhereZeroPointsAreIntegers()
    {
        var (_, dequantized) = Quantize([0, 0.1f, 0.2f, 0.71f, 5, 5, 5, 5, 4, 4, 4, 4, 3, 3, 3, 3], new GroupParameters(4, GroupSize));

        Assert.AreEqual(0f, dequantized[0]);
    }

    [TestMethod]
    public void AScaleBeyondFloat16IsNamed()
    {
        var values = new float[GroupSize];
        values[3] = 1e6f;
        var error = Assert.ThrowsExactly<OrtQuantException>(() => Quantize(values, new GroupParameters(2, GroupSize)));

        Assert.Contains("row 0, group 0", error.Message);
        Assert.Contains("65504", error.Message);
        Assert.Contains("float32", error.Message);

        var (_, dequantized) = Quantize(values, new GroupParameters(2, GroupSize, ScaleType: ElementType.Float32));
        Assert.AreEqual(1e6f, dequantized[3], 1f);
    }

    [TestMethod]
    [DynamicData(nameof(Parameters))]
    public void EnormousWeightsAreRefusedOrStayFinite(GroupParameters parameters)
    {
        var wide = parameters with { ScaleType = ElementType.Float32 };
        foreach (var magnitude in (float[])[1e30f, 1e37f, 1e38f, 2e38f, float.MaxValue])
        {
            float[] values = [magnitude, -magnitude, .. new float[GroupSize - 2]];
            float[] dequantized = [];
            try
            {
                (_, dequantized) = Quantize(values, wide);
            }
            catch (OrtQuantException error)
            {
                Assert.IsGreaterThan(1e37f, magnitude);
                Assert.Contains("row 0, group 0", error.Message);
            }

            Assert.IsTrue(dequantized.All(float.IsFinite), $"{magnitude}");
        }

        Assert.ThrowsExactly<OrtQuantException>(() => Quantize([float.MaxValue, -float.MaxValue, .. new float[GroupSize - 2]], wide));
    }

    [TestMethod]
    public void TheLargestFloat16WeightsFit()
    {
        float[] values = [65504, -65504, .. new float[GroupSize - 2]];
        foreach (var bits in (int[])[2, 3, 4, 8])
        {
            var (grid, dequantized) = Quantize(values, new GroupParameters(bits, GroupSize));

            Assert.AreEqual(65504f, dequantized[0], grid.GetGroup(0, 0).Scale);
            Assert.AreEqual(-65504f, dequantized[1], grid.GetGroup(0, 0).Scale);
        }
    }

    [TestMethod]
    [DataRow(float.NaN)]
    [DataRow(float.PositiveInfinity)]
    [DataRow(float.NegativeInfinity)]
    public void AValueThatIsNotFiniteIsAnError(float bad)
    {
        var parameters = new GroupParameters(4, 32);
        foreach (var position in (int[])[0, 7, 31, 32, 40, 70])
        {
            var values = new float[71];
            values[position] = bad;
            var grid = GroupScheme.Instance.CreateGrid(new WeightShape(1, 71), parameters);

            var fitting = Assert.ThrowsExactly<OrtQuantException>(() => grid.FitRows(0, 1, values, []));
            Assert.Contains($"group {position / 32}", fitting.Message);

            var rounding = Assert.ThrowsExactly<OrtQuantException>(() => grid.Round(0, 0, values, []));
            Assert.Contains($"group {position / 32}", rounding.Message);
        }
    }

    [TestMethod]
    public void RoundingMatchesAReferenceAtEveryLength()
    {
        var random = new Random(4);
        for (var length = 1; length <= 100; length++)
        {
            var values = Enumerable.Range(0, length).Select(_ => (float)((random.NextDouble() * 40) - 10)).ToArray();
            foreach (var (scale, zeroPoint) in new[] { (0.75f, 5f), (-0.5f, 3f), (0.1f, 100.25f), (1f, 0f) })
            {
                foreach (var maxCode in (int[])[3, 7, 15, 255])
                {
                    var codes = new byte[length];
                    Assert.IsTrue(GroupRound.Round(values, scale, zeroPoint, maxCode, codes));

                    var inverse = 1f / scale;
                    var expected = values.Select(value => (byte)Math.Round(Math.Clamp((value * inverse) + zeroPoint, 0f, maxCode), MidpointRounding.ToEven)).ToArray();
                    CollectionAssert.AreEqual(expected, codes);
                }
            }
        }
    }

    [TestMethod]
    public void RoundKeepsWhatItAnswers()
    {
        var shape = new WeightShape(3, 70);
        var grid = (IAffineGrid)GroupScheme.Instance.CreateGrid(shape, new GroupParameters(4, 16));
        var random = new Random(9);
        var values = Enumerable.Range(0, 70).Select(_ => (float)random.NextDouble() - 0.5f).ToArray();
        grid.FitRows(1, 1, values, []);
        var whole = new float[70];
        grid.Round(1, 0, values, whole);
        var codes = grid.Codes(1).ToArray();

        // In pieces that cross groups, as an error-feedback quantizer asks for them.
        grid.Codes(1).Clear();
        for (var k = 0; k < 70; k += 9)
        {
            var length = Math.Min(9, 70 - k);
            var piece = new float[length];
            grid.Round(1, k, values.AsSpan(k, length), piece);
            CollectionAssert.AreEqual(whole[k..(k + length)], piece);
        }

        CollectionAssert.AreEqual(codes, grid.Codes(1).ToArray());
        var kept = new float[70];
        grid.Dequantize(1, kept);
        CollectionAssert.AreEqual(whole, kept);
    }

    [TestMethod]
    [DynamicData(nameof(Parameters))]
    public void AWeightedFitIsNeverWorseThanTheRange(GroupParameters parameters)
    {
        var random = new Random(6);
        for (var trial = 0; trial < 100; trial++)
        {
            var values = Enumerable.Range(0, GroupSize).Select(_ => (float)((random.NextDouble() - 0.5) * Math.Exp(2 * random.NextDouble()))).ToArray();
            var importance = Enumerable.Range(0, GroupSize).Select(_ => trial % 10 == 0 ? 0 : (float)Math.Exp(4 * random.NextDouble())).ToArray();

            Assert.IsLessThanOrEqualTo(
                Error(values, importance, parameters, []), Error(values, importance, parameters, importance), $"trial {trial}");
        }
    }

    /// <summary>On tiny groups of two bits, beside the best of every zero point and a fine sweep of scales.</summary>
    [TestMethod]
    public void AWeightedFitIsNearTheExhaustiveOptimum()
    {
        var parameters = new GroupParameters(2, GroupSize, ScaleType: ElementType.Float32);
        var random = new Random(8);
        double found = 0, optimum = 0;
        for (var trial = 0; trial < 50; trial++)
        {
            var values = Enumerable.Range(0, GroupSize).Select(_ => (float)(random.NextDouble() - 0.4)).ToArray();
            var importance = Enumerable.Range(0, GroupSize).Select(_ => (float)Math.Exp(3 * random.NextDouble())).ToArray();
            found += Error(values, importance, parameters, importance);
            optimum += Exhaustive(values, importance, maxCode: 3);
        }

        Assert.IsLessThanOrEqualTo(1.05 * optimum, found);
    }

    private static double Exhaustive(float[] values, float[] importance, int maxCode)
    {
        var best = double.MaxValue;
        for (var zeroPoint = 0; zeroPoint <= maxCode; zeroPoint++)
        {
            for (var scale = 0.01; scale < 1; scale *= 1.005)
            {
                double error = 0;
                for (var i = 0; i < values.Length; i++)
                {
                    var code = Math.Clamp(Math.Round((values[i] / scale) + zeroPoint), 0, maxCode);
                    error += importance[i] * Math.Pow(values[i] - (scale * (code - zeroPoint)), 2);
                }

                best = Math.Min(best, error);
            }
        }

        return best;
    }

    private static double Error(float[] values, float[] importance, GroupParameters parameters, float[] fitImportance)
    {
        var grid = Grid(parameters);
        var dequantized = new float[values.Length];
        grid.Fit(0, 0, values, fitImportance);
        grid.Round(0, 0, values, dequantized);
        return values.Select((value, i) => importance[i] * Math.Pow(value - dequantized[i], 2)).Sum();
    }

    private static IAffineGrid Grid(GroupParameters parameters) =>
        (IAffineGrid)GroupScheme.Instance.CreateGrid(new WeightShape(1, GroupSize), parameters);

    private static (IAffineGrid Grid, float[] Dequantized) Quantize(IEnumerable<float> values, GroupParameters parameters)
    {
        var grid = Grid(parameters);
        var dequantized = new float[GroupSize];
        float[] row = [.. values];
        grid.FitRows(0, 1, row, []);
        grid.Round(0, 0, row, dequantized);
        return (grid, dequantized);
    }
}
