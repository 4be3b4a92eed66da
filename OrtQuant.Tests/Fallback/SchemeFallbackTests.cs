using Microsoft.ML.OnnxRuntime;
using OrtQuant.Descriptions;
using OrtQuant.Schemes;
using OrtQuant.Tests.Schemes;

namespace OrtQuant.Tests.Fallback;

/// <summary>
/// The function body of every scheme's matmul, run by ONNX Runtime without the native library: an oracle that shares no code with the kernels.
/// Limits are those that the scheme itself states (<see cref="SchemeQuality"/>).
/// </summary>
[TestClass]
public sealed class SchemeFallbackTests
{
    // Rounding of Y.
    private const double HalfLimit = 1e-3;

    private static readonly WeightShape[] Shapes = [new(1, 1), new(7, 33), new(17, 172), new(64, 256), new(48, 512), new(45, 1000)];

    public static IEnumerable<object[]> Formats =>
        from scheme in SchemeCatalog.All
        from parameters in scheme.Samples
        from level in (int[])[0, 1, 4]
        select new object[] { scheme.Name, parameters, level };

    public static IEnumerable<object[]> Samples => SchemeSuiteTests.Samples;

    [TestMethod]
    [DynamicData(nameof(Formats))]
    public void TheFunctionComputesWhatTheWeightsSayAndTheKernelsTheSame(string name, SchemeParameters parameters, int level)
    {
        var scheme = SchemeCatalog.Get(name);
        int[] opsets = [.. Enumerable.Range(scheme.Op.MinimumFallbackOpset, 23 - scheme.Op.MinimumFallbackOpset)];
        foreach (var (index, shape) in Shapes.Index())
        {
            // The other choices vary along, so that pairs of them meet over the formats.
            var number = (index * 7) + (scheme.Samples.ToList().IndexOf(parameters) * 3) + (level * 5);
            Check(
                new MatMulCase(scheme, shape, parameters)
                {
                    AccuracyLevel = level,
                    Type = number % 4 == 1 ? ElementType.Float16 : ElementType.Float32,
                    HasBias = number % 5 < 2,
                    Rank = number % 3 == 0 ? 3 : 0,
                    Opset = opsets[number % opsets.Length],
                },
                rows: 1 + (number % 3));
        }
    }

    [TestMethod]
    [DynamicData(nameof(Samples))]
    public void NoRowsGiveNoRows(string name, SchemeParameters parameters)
    {
        var test = new MatMulCase(SchemeCatalog.Get(name), new(17, 172), parameters) { AccuracyLevel = 4 };
        var model = test.MatMulModel(Tensors(test));
        using var function = new InferenceSession(model);
        using var options = new SessionOptions();
        using var kernels = new InferenceSession(model, options.RegisterOrtQuant());

        Assert.IsEmpty(MatMulCase.Run(function, Array.Empty<float>(), 1, 0, 172));
        Assert.IsEmpty(MatMulCase.Run(kernels, Array.Empty<float>(), 1, 0, 172));
    }

    [TestMethod]
    [DynamicData(nameof(Samples))]
    public void AChangedByteIsNoticed(string name, SchemeParameters parameters)
    {
        var test = new MatMulCase(SchemeCatalog.Get(name), new(16, 64), parameters);
        var tensors = Tensors(test);
        var expected = test.Reference(test.Decode(tensors), test.Activations(1));
        tensors[0][100] ^= 0x55;
        using var session = new InferenceSession(test.MatMulModel(tensors));

        Assert.IsGreaterThan(test.Scheme.Quality.FloatLevel, MatMulCase.RelativeError(MatMulCase.Run(session, test.Activations(1), 1, 1, 64), expected));
    }

    [TestMethod]
    [DynamicData(nameof(Samples))]
    public void AnOldOpsetHasNoBody(string name, SchemeParameters parameters)
    {
        var scheme = SchemeCatalog.Get(name);

        Assert.IsNull(Body(new MatMulCase(scheme, new(16, 64), parameters) { Opset = scheme.Op.MinimumFallbackOpset - 1 }));
        Assert.IsNotNull(Body(new MatMulCase(scheme, new(16, 64), parameters) { Opset = scheme.Op.MinimumFallbackOpset }));
    }

    private static void Check(MatMulCase test, int rows)
    {
        var tensors = Tensors(test);
        var x = test.Activations(rows);
        var model = test.MatMulModel(tensors);
        using var session = new InferenceSession(model);
        var function = MatMulCase.Run(session, x, 1, rows, test.Shape.K);
        using var options = new SessionOptions();
        using var kernels = new InferenceSession(model, options.RegisterOrtQuant());
        var kernel = MatMulCase.Run(kernels, x, 1, rows, test.Shape.K);

        var quality = test.Scheme.Quality;
        var rounds = Body(test)!.RoundsActivations;
        var quantized = test.AccuracyLevel == 4;
        var rounding = test.Type == ElementType.Float16 ? HalfLimit : quality.FloatLevel;
        var expected = test.Reference(test.Decode(tensors), x);
        var limit = quantized ? quality.Int8LevelOfExactBody : rounding;
        Assert.IsLessThanOrEqualTo(limit, MatMulCase.RelativeError(function, expected), $"function, {test}");
        Assert.IsLessThanOrEqualTo(limit, MatMulCase.RelativeError(kernel, expected), $"kernel, {test}");
        var parity = quantized ? Math.Max(rounding, rounds ? quality.Int8Level : quality.Int8LevelOfExactBody) : rounding;
        Assert.IsLessThanOrEqualTo(parity, MatMulCase.RelativeError(kernel, Array.ConvertAll(function, value => (double)value)), $"kernel against function, {test}");
    }

    private static IReadOnlyList<byte[]> Tensors(MatMulCase test)
    {
        using var grid = SchemeSuiteTests.Quantize(test.Scheme, test.Shape, test.Parameters, seed: 7).Grid;
        return test.Scheme.Encode(grid);
    }

    private static FunctionBody? Body(MatMulCase test)
    {
        var types = test.Scheme.Tensors(test.Shape, test.Parameters).ToDictionary(spec => spec.Input, spec => (ElementType?)spec.Type);
        types["X"] = test.Type;
        if (test.HasBias) types["bias"] = test.Type;
        if (test.Rank > 0) types["low_rank_a"] = types["low_rank_b"] = test.Type;
        var inputs = test.Scheme.Op.Inputs.Select(input => types.GetValueOrDefault(input.Name)).ToList();
        return test.Scheme.Op.Fallback(new FallbackCall(test.Opset, inputs, test.Scheme.Attributes(test.Shape, test.Parameters, test.AccuracyLevel)));
    }
}
