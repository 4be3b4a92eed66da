using OrtQuant.Schemes;

namespace OrtQuant.Tests.Schemes;

/// <summary>What C# encodes, the native library unpacks, bit for bit: the golden examples, and random weights of awkward shapes.</summary>
[TestClass]
public sealed class NativeParityTests
{
    private static readonly WeightShape[] Shapes = [new(1, 1), new(2, 17), new(16, 32), new(17, 100), new(33, 172), new(48, 257)];

    public static IEnumerable<object[]> Examples => GoldenExample.All.Select(example => new object[] { example });

    public static IEnumerable<object[]> Samples => SchemeSuiteTests.Samples;

    [TestMethod]
    [DynamicData(nameof(Examples))]
    public void TheLibraryUnpacksTheGoldenBytes(GoldenExample example)
    {
        var actual = Unpack(example.Scheme, example.Tensors, example.Shape, example.Parameters);

        CollectionAssert.AreEqual(Bits(example.Floats("values")), Bits(actual));
    }

    [TestMethod]
    [DynamicData(nameof(Samples))]
    public void TheLibraryUnpacksWhatIsEncoded(string name, SchemeParameters parameters)
    {
        var scheme = SchemeCatalog.Get(name);
        foreach (var shape in Shapes)
        {
            var (grid, dequantized) = SchemeSuiteTests.Quantize(scheme, shape, parameters, seed: 29);

            var actual = Unpack(scheme, scheme.Encode(grid), shape, parameters);

            CollectionAssert.AreEqual(Bits(dequantized), Bits(actual), $"{shape}");
        }
    }

    /// <summary>Every bit pattern of the stored tensors, subnormal scales included, means the same on both sides.</summary>
    [TestMethod]
    [DynamicData(nameof(Samples))]
    public void RandomBytesMeanTheSame(string name, SchemeParameters parameters)
    {
        var scheme = SchemeCatalog.Get(name);
        var shape = new WeightShape(37, 150);
        var random = new Random(31);
        var tensors = scheme.Tensors(shape, parameters).Select(spec => new byte[spec.ByteLength]).ToArray();
        foreach (var tensor in tensors)
        {
            random.NextBytes(tensor);
        }

        var expected = new float[shape.Count];
        scheme.Decode([.. tensors.Select(bytes => (ReadOnlyMemory<byte>)bytes)], shape, parameters, expected);

        // Random scales include NaN and infinity; which NaN comes out of arithmetic with them is not specified.
        CollectionAssert.AreEqual(Bits(expected), Bits(Unpack(scheme, tensors, shape, parameters)));
    }

    /// <summary>Negative control: the comparison sees a single bit.</summary>
    [TestMethod]
    [DynamicData(nameof(Samples))]
    public void AFlippedBitIsSeen(string name, SchemeParameters parameters)
    {
        var scheme = SchemeCatalog.Get(name);
        var shape = new WeightShape(3, 40);
        var (grid, dequantized) = SchemeSuiteTests.Quantize(scheme, shape, parameters, seed: 29);
        var tensors = scheme.Encode(grid);
        tensors[0][0] ^= 1;

        CollectionAssert.AreNotEqual(Bits(dequantized), Bits(Unpack(scheme, tensors, shape, parameters)));
    }

    private static float[] Unpack(IWeightScheme scheme, IReadOnlyList<byte[]> tensors, WeightShape shape, SchemeParameters parameters)
    {
        var stored = scheme.Tensors(shape, parameters).Zip(tensors).ToDictionary(
            pair => pair.First.Input, pair => new TensorMemory(pair.First.Type, pair.First.Shape, pair.Second));
        var inputs = scheme.Op.Inputs.Select(input => stored.GetValueOrDefault(input.Name, TensorMemory.Absent)).ToArray();
        var weights = new float[shape.Count];
        NativeOp.Unpack(scheme.Op.Name, scheme.Attributes(shape, parameters, accuracyLevel: 1), inputs, weights);
        return weights;
    }

    private static int[] Bits(float[] values) => [.. values.Select(value => float.IsNaN(value) ? int.MaxValue : BitConverter.SingleToInt32Bits(value))];
}
