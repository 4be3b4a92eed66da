using System.Runtime.InteropServices;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;
using Onnx;
using OrtQuant.Descriptions;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Smooth;
using OrtQuant.Tests.Schemes;

namespace OrtQuant.Tests.Fallback;

/// <summary>
/// How scheme <c>smooth</c> rounds activations, written down here once more from the words of SPEC.md: kernels and function body are held to it at the limit of
/// float32 sums, because both round to the same integers.
/// </summary>
[TestClass]
public sealed class SmoothFallbackTests
{
    private const double FloatLimit = 5e-6;
    private const double HalfLimit = 1e-3;

    private static readonly WeightShape[] Shapes = [new(1, 1), new(7, 33), new(17, 172), new(64, 256), new(48, 512), new(45, 1000)];
    private static readonly int[] Opsets = [14, 15, 17, 18, 20, 21, 22];

    public static IEnumerable<object[]> Formats =>
        from groupSize in (int[])[16, 32, 128, 512, -1]
        from scope in Enum.GetValues<SmoothScope>()
        select new object[] { groupSize, scope };

    [TestMethod]
    [DynamicData(nameof(Formats))]
    public void FunctionAndKernelsRoundAsTheSpecificationSays(int groupSize, SmoothScope scope)
    {
        foreach (var (index, shape) in Shapes.Index())
        {
            // The other choices vary along, so that every pair of them meets over the formats.
            var number = (index * 7) + groupSize + ((int)scope * 11) + 1;
            var parameters = new SmoothParameters(groupSize, 16 << (number & 3), number % 3 == 0 ? 8 : 4, scope, number % 5 == 0 ? ElementType.Float32 : ElementType.Float16);
            var order = Order((int)shape.K, isShuffled: (number & 2) == 0);
            var test = Case(shape, parameters, order) with
            {
                Type = number % 4 == 1 ? ElementType.Float16 : ElementType.Float32,
                HasBias = number % 5 < 2,
                Opset = Opsets[number % Opsets.Length],
            };
            var tensors = Tensors(test);
            var (rows, limit) = (1 + (number % 3), test.Type == ElementType.Float16 ? HalfLimit : FloatLimit);
            var x = test.Activations(rows);
            var expected = test.Reference(test.Decode(tensors), Rounded(x, order, parameters));
            var (function, kernel) = Run(test.MatMulModel(tensors), x, rows, (int)shape.K);
            Assert.IsLessThanOrEqualTo(limit, MatMulCase.RelativeError(function, expected), $"function, {test}");
            Assert.IsLessThanOrEqualTo(limit, MatMulCase.RelativeError(kernel, expected), $"kernel, {test}");
        }
    }

    /// <summary>The factors of a correction meet X in its own order, and unrounded.</summary>
    [TestMethod]
    public void LowRankFactorsReadXAsItIs()
    {
        var order = Order(172, isShuffled: true);
        var test = Case(new(33, 172), new SmoothParameters(), order) with { Rank = 3 };
        var tensors = Tensors(test);
        var x = test.Activations(4);
        var zeros = new float[33 * 172];
        var added = test.Reference(zeros, x);
        var product = (test with { Rank = 0 }).Reference(test.Decode(tensors), Rounded(x, order, (SmoothParameters)test.Parameters));
        double[] expected = [.. product.Zip(added, (one, other) => one + other)];
        var (function, kernel) = Run(test.MatMulModel(tensors), x, 4, 172);

        Assert.IsLessThanOrEqualTo(FloatLimit, MatMulCase.RelativeError(function, expected), "function");
        Assert.IsLessThanOrEqualTo(FloatLimit, MatMulCase.RelativeError(kernel, expected), "kernel");
    }

    /// <summary>Negative control of the reference: with another scope, other groups or another order it is another result.</summary>
    [TestMethod]
    public void ScopesSizesAndOrdersDiffer()
    {
        var parameters = new SmoothParameters(32, 32, 4, SmoothScope.Token);
        var order = Order(256, isShuffled: true);
        var test = Case(new(16, 256), parameters, order);
        var tensors = Tensors(test);
        var x = test.Activations(5);
        var (function, _) = Run(test.MatMulModel(tensors), x, 5, 256);
        Assert.IsLessThan(FloatLimit, Error(parameters, order));
        Assert.IsGreaterThan(1e-3, Error(parameters, Order(256, isShuffled: false)));
        Assert.IsGreaterThan(1e-3, Error(parameters with { Scope = SmoothScope.Call }, order));
        Assert.IsGreaterThan(1e-3, Error(parameters with { Scope = SmoothScope.None }, order));
        Assert.IsGreaterThan(1e-3, Error(parameters with { SmoothSize = 64 }, order));
        Assert.IsGreaterThan(1e-3, Error(parameters with { ActivationBits = 8 }, order));

        double Error(SmoothParameters other, int[] read) => MatMulCase.RelativeError(function, test.Reference(test.Decode(tensors), Rounded(x, read, other)));
    }

    private static MatMulCase Case(WeightShape shape, SmoothParameters parameters, int[] order) => new(SmoothScheme.Instance, shape, parameters)
    {
        AccuracyLevel = 4,
        OtherInputs = order.Index().All(item => item.Index == item.Item) ? [] : [new TensorProto
        {
            Name = "channel_order",
            DataType = (int)ElementType.Int32,
            Dims = { shape.K },
            RawData = ByteString.CopyFrom(MemoryMarshal.AsBytes<int>(order)),
        }],
    };

    private static IReadOnlyList<byte[]> Tensors(MatMulCase test)
    {
        using var grid = SchemeSuiteTests.Quantize(test.Scheme, test.Shape, test.Parameters, seed: 7).Grid;
        return test.Scheme.Encode(grid);
    }

    private static (float[] Function, float[] Kernel) Run(byte[] model, float[] x, int rows, int k)
    {
        using var session = new InferenceSession(model);
        using var options = new SessionOptions();
        using var kernels = new InferenceSession(model, options.RegisterOrtQuant());
        return (MatMulCase.Run(session, x, 1, rows, k), MatMulCase.Run(kernels, x, 1, rows, k));
    }

    private static int[] Order(int k, bool isShuffled)
    {
        int[] order = [.. Enumerable.Range(0, k)];
        if (isShuffled) new Random(6).Shuffle(order);
        return order;
    }

    /// <summary>X in the order of the weight's K, as level 4 rounds it.</summary>
    private static float[] Rounded(float[] x, int[] order, SmoothParameters parameters)
    {
        var (k, size) = (order.Length, parameters.SmoothSize);
        var rows = x.Length / k;
        var limit = parameters.ActivationBits == 4 ? 7f : 127f;
        var result = new float[x.Length];
        for (var m = 0; m < rows; m++)
        {
            var smooth = new float[k];
            for (var p = 0; p < k; p++)
            {
                var group = Enumerable.Range(p / size * size, Math.Min(size, k - (p / size * size)));
                var over = parameters.Scope == SmoothScope.Call ? Enumerable.Range(0, rows) : [m];
                smooth[p] = parameters.Scope == SmoothScope.None ? 1 : over.Max(r => group.Max(j => MathF.Abs(x[(r * k) + order[j]])));
            }

            var top = Enumerable.Range(0, k).Max(p => MathF.Abs(x[(m * k) + order[p]] * (1 / smooth[p])));
            for (var p = 0; p < k; p++)
            {
                var code = MathF.Round(x[(m * k) + order[p]] * (1 / smooth[p]) * (limit / top));
                result[(m * k) + p] = code * (smooth[p] * top * (1 / limit));
            }
        }

        return result;
    }
}
