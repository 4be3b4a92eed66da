using OrtQuant.GraphRewriter.Quantizers;
using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;
using OrtQuant.Tests.Schemes;

namespace OrtQuant.Tests.Quantizers;

/// <summary>The algorithms that minimize the output's error: gptq and descent.</summary>
[TestClass]
public sealed class GramQuantizerTests
{
    public static IEnumerable<object[]> Samples => SchemeSuiteTests.Samples;

    [TestMethod]
    [DynamicData(nameof(Samples))]
    public void EachLowersTheErrorOfTheOutput(string schemeName, SchemeParameters parameters)
    {
        var scheme = SchemeCatalog.Get(schemeName);
        var weight = SyntheticInputs.Weight(new WeightShape(45, 100), seed: 1);
        var inputs = SyntheticInputs.Create(100, seed: 2);
        var context = new QuantizerContext("w") { Statistics = inputs };

        double ErrorOf(IQuantizer quantizer)
        {
            using var quantized = quantizer.Quantize(weight, scheme, parameters, context);
            return inputs.OutputError(weight, quantized);
        }

        var weighted = ErrorOf(WeightedSearch.Instance);
        var gptq = ErrorOf(Gptq.Instance);
        var descent = ErrorOf(CoordinateDescent.Instance);

        Assert.IsLessThan(0.8 * ErrorOf(RoundToNearest.Instance), gptq);
        Assert.IsLessThan(weighted, gptq);

        // It minimizes the damped error, which is nearly this one.
        Assert.IsLessThan(1.001 * gptq, descent);
    }

    [TestMethod]
    [DynamicData(nameof(Samples))]
    public void TheResultDoesNotDependOnThreads(string schemeName, SchemeParameters parameters)
    {
        var scheme = SchemeCatalog.Get(schemeName);
        var weight = SyntheticInputs.Weight(new WeightShape(75, 70), seed: 3);
        foreach (var quantizer in (IQuantizer[])[Gptq.Instance, CoordinateDescent.Instance])
        {
            IReadOnlyList<byte[]>? expected = null;
            foreach (var threads in (int[])[1, 2, 5])
            {
                var context = new QuantizerContext("w") { Threads = threads, Statistics = SyntheticInputs.Create(70, seed: 4) };
                using var quantized = quantizer.Quantize(weight, scheme, parameters, context);
                var bytes = scheme.Encode(quantized.Grid);
                expected ??= bytes;
                foreach (var (one, other) in expected.Zip(bytes)) CollectionAssert.AreEqual(one, other);
            }
        }
    }

    /// <summary>Groups of few codes, beside every choice of codes with the best scale of each.</summary>
    [TestMethod]
    public void DescentIsNearTheExhaustiveOptimum()
    {
        const int K = 6;
        var parameters = new GroupParameters(2, 16, ZeroPointKind.None, OrtQuant.Descriptions.ElementType.Float32);
        double gptq = 0, descent = 0, optimum = 0, rounded = 0;
        for (var trial = 0; trial < 20; trial++)
        {
            var weight = SyntheticInputs.Weight(new WeightShape(3, K), seed: trial);
            var inputs = SyntheticInputs.Create(K, seed: 100 + trial);
            optimum += Enumerable.Range(0, 3).Sum(row => Exhaustive(weight.ReadAll().AsSpan(row * K, K), inputs.Gram.Span));
            rounded += ErrorOf(RoundToNearest.Instance, weight, inputs, parameters);
            gptq += ErrorOf(Gptq.Instance, weight, inputs, parameters);
            descent += ErrorOf(CoordinateDescent.Instance, weight, inputs, parameters);
        }

        Assert.IsGreaterThanOrEqualTo(optimum, descent);
        Assert.IsLessThan(1.25 * optimum, descent);
        Assert.IsLessThanOrEqualTo(gptq, descent);
        Assert.IsGreaterThan(2 * optimum, rounded);
    }

    [TestMethod]
    public void MatricesThatSayLittleAreNoObstacle()
    {
        const int K = 64;
        var random = new Random(7);
        var line = Enumerable.Range(0, K).Select(_ => (float)random.NextDouble()).ToArray();
        var matrices = new Dictionary<string, float[]>
        {
            ["zero"] = new float[K * K],
            ["rank one"] = [.. Enumerable.Range(0, K * K).Select(i => line[i / K] * line[i % K])],
            ["one channel"] = [.. Enumerable.Range(0, K * K).Select(i => i == 0 ? 1f : 0f)],
            ["tiny"] = [.. Enumerable.Range(0, K * K).Select(i => 1e-30f * ((i % (K + 1)) == 0 ? 2 : 1))],
            ["huge range"] = [.. Enumerable.Range(0, K * K).Select(i => (i % (K + 1)) == 0 ? (float)Math.Pow(10, (i % 12) - 6) : 0f)],
            ["not positive"] = [.. Enumerable.Range(0, K * K).Select(i => (i % (K + 1)) == 0 ? 1f : 0.5f * (((i / K) + (i % K)) % 2 == 0 ? 1 : -3))],
        };
        var values = SyntheticInputs.Weight(new WeightShape(20, K), seed: 5).ReadAll();
        Array.Fill(values, 0.25f, 0, K);
        Array.Clear(values, K, K);
        values[(2 * K) + 3] = 3000f;
        var weight = new DenseWeight(new WeightShape(20, K), values);
        foreach (var (name, matrix) in matrices)
        {
            foreach (var quantizer in (IQuantizer[])[Gptq.Instance, CoordinateDescent.Instance])
            {
                using var quantized = quantizer.Quantize(
                    weight, GroupScheme.Instance, new GroupParameters(), new QuantizerContext("w") { Statistics = SyntheticInputs.Of(matrix, K) });
                var row = new float[K];
                quantized.Grid.Dequantize(1, row);
                CollectionAssert.AreEqual(new float[K], row, name);
                for (var n = 0; n < 20; n++)
                {
                    quantized.Grid.Dequantize(n, row);
                    Assert.IsTrue(row.All(value => float.IsFinite(value) && Math.Abs(value) < 10000), name);
                }
            }
        }
    }

    [TestMethod]
    public void BadWeightsAndMatricesAreNamed()
    {
        var inputs = SyntheticInputs.Create(64, seed: 1);
        var values = SyntheticInputs.Weight(new WeightShape(40, 64), seed: 2).ReadAll();
        values[(37 * 64) + 9] = float.NaN;
        var error = Refusal(new DenseWeight(new WeightShape(40, 64), values), inputs);
        Assert.Contains("'layer.weight'", error);
        Assert.Contains("row 37", error);

        var weight = SyntheticInputs.Weight(new WeightShape(5, 64), seed: 2);
        Assert.Contains("4900 elements; it must have 4096", Refusal(weight, SyntheticInputs.Create(70, seed: 1)));
        foreach (var bad in (float[])[float.NaN, float.PositiveInfinity])
        {
            var gram = inputs.Gram.ToArray();
            gram[70] = bad;
            Assert.Contains("must be finite", Refusal(weight, SyntheticInputs.Of(gram, 64)));
        }
    }

    /// <summary>Inputs half as large in the quantized model: the target is twice the weight.</summary>
    [TestMethod]
    public void TheCrossGramMovesTheTarget()
    {
        const int K = 64;
        var inputs = SyntheticInputs.Create(K, seed: 11);
        var weight = SyntheticInputs.Weight(new WeightShape(20, K), seed: 12);
        float[] twice = [.. inputs.Gram.ToArray().Select(value => 2 * value)];
        var parameters = new GroupParameters(8, 32, ZeroPointKind.None);

        double NormOf(IActivationStatistics statistics)
        {
            using var quantized = Gptq.Instance.Quantize(weight, GroupScheme.Instance, parameters, new QuantizerContext("w") { Statistics = statistics });
            var rows = new float[K];
            var sum = 0.0;
            for (var n = 0; n < 20; n++)
            {
                quantized.Grid.Dequantize(n, rows);
                sum += rows.Sum(value => (double)value * value);
            }

            return Math.Sqrt(sum);
        }

        var norm = Math.Sqrt(weight.ReadAll().Sum(value => (double)value * value));
        Assert.AreEqual(norm, NormOf(inputs), 0.01 * norm);
        Assert.AreEqual(norm, NormOf(inputs.With(inputs.Gram.ToArray())), 0.01 * norm);

        // Half of the way to twice the weight, but for the damping.
        Assert.AreEqual(1.5 * norm, NormOf(inputs.With(twice)), 0.05 * norm);
    }

    private static double ErrorOf(IQuantizer quantizer, IWeightSource weight, SyntheticInputs inputs, SchemeParameters parameters)
    {
        using var quantized = quantizer.Quantize(weight, GroupScheme.Instance, parameters, new QuantizerContext("w") { Statistics = inputs });
        return inputs.OutputError(weight, quantized);
    }

    private static string Refusal(IWeightSource weight, IActivationStatistics statistics) => Assert.ThrowsExactly<OrtQuantException>(
        () => CoordinateDescent.Instance.Quantize(
            weight, GroupScheme.Instance, new GroupParameters(), new QuantizerContext("layer.weight") { Statistics = statistics })).Message;

    // w' = s u with u in -2 .. 1: for each u the best s is closed form, so the optimum needs no sweep of scales.
    private static double Exhaustive(ReadOnlySpan<float> weights, ReadOnlySpan<float> gram)
    {
        var k = weights.Length;
        var pulls = new double[k];
        var norm = 0.0;
        for (var i = 0; i < k; i++)
        {
            for (var j = 0; j < k; j++) pulls[i] += gram[(i * k) + j] * weights[j];
            norm += weights[i] * pulls[i];
        }

        var least = norm;
        var u = new int[k];
        for (var choice = 0; choice < 1 << (2 * k); choice++)
        {
            double product = 0, square = 0;
            for (var i = 0; i < k; i++)
            {
                u[i] = ((choice >> (2 * i)) & 3) - 2;
                product += u[i] * pulls[i];
                for (var j = 0; j < i; j++) square += 2.0 * u[i] * u[j] * gram[(i * k) + j];
                square += (double)u[i] * u[i] * gram[(i * k) + i];
            }

            if (square > 0) least = Math.Min(least, norm - (product * product / square));
        }

        return least;
    }
}
