using OrtQuant.Descriptions;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;
using OrtQuant.Schemes.Lut;

namespace OrtQuant.Tests.Schemes;

/// <summary>Uniform quantizers as binary-coded weights: bit for bit what they were.</summary>
[TestClass]
public sealed class LutImportTests
{
    private static readonly WeightShape Shape = new(19, 70);

    public static IEnumerable<object[]> Formats =>
        from bits in (int[])[2, 3, 4]
        from size in (int[])[16, 32, GroupParameters.WholeRow]
        from kind in (ZeroPointKind[])[ZeroPointKind.None, ZeroPointKind.Integer, ZeroPointKind.Float]
        from type in (ElementType[])[ElementType.Float16, ElementType.Float32]
        select new object[] { new GroupParameters(bits, size, kind, type) };

    [TestMethod]
    [DynamicData(nameof(Formats))]
    public void UniformLevelsHoldEveryWeightOfSchemeGroup(GroupParameters parameters)
    {
        using var grid = Random(parameters);
        var expected = Decode(GroupScheme.Instance, grid, parameters);
        var held = LutScheme.Instance.Holding(parameters)!;
        using var own = (IAffineGrid)LutScheme.Instance.CreateGrid(Shape, held);
        Copy(grid, own);

        CollectionAssert.AreEqual(expected, Decode(LutScheme.Instance, own, held));

        // Negative control: one code, and one bit of a scale.
        own.Codes(18)[69] ^= 1;
        CollectionAssert.AreNotEqual(expected, Decode(LutScheme.Instance, own, held));
        own.Codes(18)[69] ^= 1;
        var (scale, zeroPoint) = own.GetGroup(0, 0);
        own.SetGroup(0, 0, parameters.ScaleType == ElementType.Float16 ? (float)Half.BitIncrement((Half)scale) : MathF.BitIncrement(scale), zeroPoint);
        CollectionAssert.AreNotEqual(expected, Decode(LutScheme.Instance, own, held));
    }

    [TestMethod]
    [DynamicData(nameof(Formats))]
    public void FreeLevelsHoldHalfPrecisionScalesWithIntegerZeroPoints(GroupParameters parameters)
    {
        // alpha_i = scale * 2^(i - 1), z = scale * ((2^bits - 1) / 2 - zp): 11 bits times 5, every sum of them exact in float32.
        if (parameters.ZeroPoint == ZeroPointKind.Float || parameters.ScaleType == ElementType.Float32) return;
        using var grid = Random(parameters);
        var free = new LutParameters(parameters.Bits, parameters.GroupSize, ScaleType: ElementType.Float32);
        using var own = (IBinaryCodedGrid)LutScheme.Instance.CreateGrid(Shape, free);
        Span<float> alphas = stackalloc float[parameters.Bits];
        for (var n = 0; n < Shape.N; n++)
        {
            grid.Codes(n).CopyTo(own.Codes(n));
            for (var g = 0; g < grid.GroupCount; g++)
            {
                var (scale, zeroPoint) = grid.GetGroup(n, g);
                for (var i = 0; i < alphas.Length; i++) alphas[i] = scale * (1 << i) / 2;
                own.SetGroup(n, g, alphas, scale * ((grid.MaxCode / 2f) - zeroPoint));
            }
        }

        // A negative scale times zero is -0; sums know no such thing.
        const int MinusZero = int.MinValue;
        int[] expected = [.. Decode(GroupScheme.Instance, grid, parameters).Select(bits => bits == MinusZero ? 0 : bits)];
        CollectionAssert.AreEqual(expected, Decode(LutScheme.Instance, own, free));
    }

    [TestMethod]
    public void EightBitsAreNotHeld() => Assert.IsNull(LutScheme.Instance.Holding(new GroupParameters(8)));

    [TestMethod]
    public void FreeLevelsAreNoWorseThanUniformOnes()
    {
        // Normal weights: what the least squares fit of free levels may gain and must not lose.
        var random = new Random(3);
        var weights = new float[64 * 512];
        for (var i = 0; i < weights.Length; i++) weights[i] = 0.05f * (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
        foreach (var bits in (int[])[2, 3, 4])
        {
            var (free, uniform) = (Error(new LutParameters(bits, 128)), Error(new LutParameters(bits, 128, LutLevels.Uniform)));
            Assert.IsLessThan(uniform, free, $"{bits} bits");
        }

        // One bit of a normal distribution at its best: sqrt(1 - 2 / pi) = 0.603 of its deviation, a little less over groups of 128 fitted one by one.
        Assert.IsInRange(0.58, 0.603, Error(new LutParameters(1, 128)));

        double Error(LutParameters parameters)
        {
            using var grid = LutScheme.Instance.CreateGrid(new WeightShape(64, 512), parameters);
            var dequantized = new float[512];
            grid.FitRows(0, 64, weights, []);
            double error = 0, norm = 0;
            for (var n = 0; n < 64; n++)
            {
                grid.Round(n, 0, weights.AsSpan(n * 512, 512), dequantized);
                for (var k = 0; k < 512; k++)
                {
                    error += Math.Pow(weights[(n * 512) + k] - dequantized[k], 2);
                    norm += Math.Pow(weights[(n * 512) + k], 2);
                }
            }

            return Math.Sqrt(error / norm);
        }
    }

    private static IAffineGrid Random(GroupParameters parameters)
    {
        var random = new Random((100 * parameters.Bits) + parameters.GroupSize);
        var grid = (IAffineGrid)GroupScheme.Instance.CreateGrid(Shape, parameters);
        for (var n = 0; n < Shape.N; n++)
        {
            random.NextBytes(grid.Codes(n));
            foreach (ref var code in grid.Codes(n)) code &= (byte)grid.MaxCode;
            for (var g = 0; g < grid.GroupCount; g++)
            {
                grid.SetGroup(n, g, (float)((random.NextDouble() - 0.3) * 0.02), (float)(random.NextDouble() * grid.MaxCode));
            }
        }

        return grid;
    }

    private static void Copy(IAffineGrid from, IAffineGrid to)
    {
        for (var n = 0; n < Shape.N; n++)
        {
            from.Codes(n).CopyTo(to.Codes(n));
            for (var g = 0; g < from.GroupCount; g++)
            {
                var (scale, zeroPoint) = from.GetGroup(n, g);
                to.SetGroup(n, g, scale, zeroPoint);
            }
        }
    }

    private static int[] Decode(IWeightScheme scheme, IWeightGrid grid, SchemeParameters parameters)
    {
        var values = new float[Shape.Count];
        scheme.Decode([.. scheme.Encode(grid).Select(bytes => (ReadOnlyMemory<byte>)bytes)], Shape, parameters, values);
        return [.. values.Select(BitConverter.SingleToInt32Bits)];
    }
}
