using System.Text.Json.Nodes;
using OrtQuant.Schemes;

namespace OrtQuant.Tests.Schemes;

/// <summary>What every scheme of the catalog must do, over all its sample parameters and awkward shapes.</summary>
[TestClass]
public sealed class SchemeSuiteTests
{
    private static readonly WeightShape[] Shapes =
    [
        new(1, 1), new(1, 16), new(2, 15), new(3, 31), new(15, 32), new(16, 33), new(17, 64), new(31, 100), new(33, 172), new(48, 257),
    ];

    public static IEnumerable<object[]> Samples =>
        SchemeCatalog.All.SelectMany(scheme => scheme.Samples.Select(parameters => new object[] { scheme.Name, parameters }));

    [TestMethod]
    public void NamesAreUnique()
    {
        CollectionAssert.AllItemsAreUnique(SchemeCatalog.All.Select(scheme => scheme.Name).ToList());
        foreach (var scheme in SchemeCatalog.All)
        {
            Assert.AreSame(scheme, SchemeCatalog.Get(scheme.Name));
            CollectionAssert.Contains(scheme.Samples.ToList(), scheme.DefaultParameters);
        }
    }

    [TestMethod]
    public void AnUnknownNameIsAnswered()
    {
        var error = Assert.ThrowsExactly<OrtQuantException>(() => SchemeCatalog.Get("nope"));

        Assert.Contains("'nope'", error.Message);
        Assert.Contains("group", error.Message);
    }

    [TestMethod]
    [DynamicData(nameof(Samples))]
    public void JsonRoundTrip(string name, SchemeParameters parameters)
    {
        var scheme = SchemeCatalog.Get(name);
        var text = scheme.ToJson(parameters).ToJsonString();

        Assert.AreEqual(parameters, scheme.Parse(JsonNode.Parse(text)!.AsObject()));
        Assert.ThrowsExactly<OrtQuantException>(() => scheme.Parse(new JsonObject { ["no_such_member"] = 1 }));
    }

    [TestMethod]
    [DynamicData(nameof(Samples))]
    public void GeometryIsPureAndFeedsTheOp(string name, SchemeParameters parameters)
    {
        var scheme = SchemeCatalog.Get(name);
        foreach (var shape in Shapes)
        {
            var specs = scheme.Tensors(shape, parameters);

            CollectionAssert.AreEqual(specs.ToList(), scheme.Tensors(shape, parameters).ToList());
            var inputs = scheme.Op.Inputs.Select(input => input.Name).ToList();
            var order = specs.Select(spec => inputs.IndexOf(spec.Input)).ToList();
            CollectionAssert.DoesNotContain(order, -1);
            CollectionAssert.AreEqual(order.Order().ToList(), order);
            foreach (var spec in specs)
            {
                CollectionAssert.Contains(scheme.Op.Inputs[inputs.IndexOf(spec.Input)].Types.ToList(), spec.Type);
            }

            Assert.AreEqual(specs.Sum(spec => spec.ByteLength) * 8.0 / shape.Count, scheme.BitsPerWeight(shape, parameters));
        }
    }

    [TestMethod]
    [DynamicData(nameof(Samples))]
    public void AttributesAreThoseOfTheOp(string name, SchemeParameters parameters)
    {
        var scheme = SchemeCatalog.Get(name);
        var declared = scheme.Op.Attributes.ToDictionary(attribute => attribute.Name);
        var values = scheme.Attributes(new WeightShape(33, 172), parameters, accuracyLevel: 4);

        CollectionAssert.AllItemsAreUnique(values.Select(value => value.Name).ToList());
        foreach (var value in values)
        {
            Assert.AreEqual(declared[value.Name].Kind, value.Kind, value.Name);
        }

        foreach (var required in scheme.Op.Attributes.Where(attribute => attribute.Required))
        {
            Assert.Contains(required.Name, values.Select(value => value.Name), $"{required.Name} is required");
        }
    }

    [TestMethod]
    [DynamicData(nameof(Samples))]
    public void EncodeAndDecodeRoundTrip(string name, SchemeParameters parameters)
    {
        var scheme = SchemeCatalog.Get(name);
        foreach (var shape in Shapes)
        {
            var (grid, dequantized) = Quantize(scheme, shape, parameters, seed: 17);

            var tensors = scheme.Encode(grid);
            var decoded = Decode(scheme, tensors, shape, parameters);
            CollectionAssert.AreEqual(dequantized, decoded, $"{shape}");

            var row = new float[shape.K];
            grid.Dequantize(shape.N - 1, row);
            CollectionAssert.AreEqual(dequantized[^(int)shape.K..], row, $"{shape}");

            var again = scheme.Encode(scheme.Read([.. tensors.Select(bytes => (ReadOnlyMemory<byte>)bytes)], shape, parameters));
            AssertSameBytes(tensors, again);
        }
    }

    [TestMethod]
    [DynamicData(nameof(Samples))]
    public void SomeRowsDecodeAsInTheWhole(string name, SchemeParameters parameters)
    {
        var scheme = SchemeCatalog.Get(name);
        var shape = new WeightShape(50, 70);
        var (grid, dequantized) = Quantize(scheme, shape, parameters, seed: 5);
        ReadOnlyMemory<byte>[] tensors = [.. scheme.Encode(grid).Select(bytes => (ReadOnlyMemory<byte>)bytes)];
        foreach (var (n0, count) in new[] { (0, 1), (15, 2), (17, 31), (49, 1), (50, 0) })
        {
            var rows = new float[count * shape.K];
            scheme.DecodeRows(tensors, shape, parameters, n0, count, rows);

            CollectionAssert.AreEqual(dequantized[(int)(n0 * shape.K)..(int)((n0 + count) * shape.K)], rows);
        }

        Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => scheme.DecodeRows(tensors, shape, parameters, 50, 1, new float[shape.K]));
    }

    [TestMethod]
    [DynamicData(nameof(Samples))]
    public void BytesDoNotDependOnThreadsNorOnOldContents(string name, SchemeParameters parameters)
    {
        var scheme = SchemeCatalog.Get(name);
        var shape = new WeightShape(100, 172);
        var (grid, _) = Quantize(scheme, shape, parameters, seed: 3);
        var expected = scheme.Encode(grid);
        foreach (var threads in (int[])[1, 2, 7])
        {
            var tensors = expected.Select(bytes => new byte[bytes.Length]).ToArray();
            foreach (var tensor in tensors)
            {
                Array.Fill(tensor, (byte)0xA5);
            }

            scheme.Encode(grid, [.. tensors.Select(bytes => bytes.AsMemory())], threads);

            AssertSameBytes(expected, tensors);
        }
    }

    [TestMethod]
    [DynamicData(nameof(Samples))]
    public void WrongLengthsAreNamed(string name, SchemeParameters parameters)
    {
        var scheme = SchemeCatalog.Get(name);
        var shape = new WeightShape(17, 40);
        var (grid, _) = Quantize(scheme, shape, parameters, seed: 3);
        var tensors = scheme.Encode(grid);
        for (var i = 0; i < tensors.Count; i++)
        {
            var wrong = tensors.Select((bytes, index) => index == i ? bytes[1..] : bytes).ToList();
            var input = scheme.Tensors(shape, parameters)[i].Input;

            var reading = Assert.ThrowsExactly<OrtQuantException>(() => Decode(scheme, wrong, shape, parameters));
            var writing = Assert.ThrowsExactly<OrtQuantException>(() => scheme.Encode(grid, [.. wrong.Select(bytes => bytes.AsMemory())]));

            Assert.Contains(input, reading.Message);
            Assert.Contains(input, writing.Message);
        }

        Assert.ThrowsExactly<OrtQuantException>(() => Decode(scheme, [], shape, parameters));
    }

    [TestMethod]
    [DynamicData(nameof(Samples))]
    public void ImpossibleShapesAreNamed(string name, SchemeParameters parameters)
    {
        var scheme = SchemeCatalog.Get(name);
        foreach (var shape in new WeightShape[] { new(0, 32), new(32, 0), new(-1, 32), new(1L << 40, 32), new(32, 1L << 40) })
        {
            var error = Assert.ThrowsExactly<OrtQuantException>(() => scheme.Tensors(shape, parameters));

            Assert.Contains($"[{shape.N}, {shape.K}]", error.Message);
        }
    }

    /// <summary>A grid that takes over the memory of another one finds no trace of it, padding included.</summary>
    [TestMethod]
    [DynamicData(nameof(Samples))]
    public void ADisposedGridLeavesNothingBehind(string name, SchemeParameters parameters)
    {
        var scheme = SchemeCatalog.Get(name);
        var shape = new WeightShape(1003, 530);
        IReadOnlyList<byte[]>? expected = null;
        for (var round = 0; round < 3; round++)
        {
            var (grid, _) = Quantize(scheme, shape, parameters, seed: 23);
            var tensors = scheme.Encode(grid);
            AssertSameBytes(expected ??= tensors, tensors);
            grid.Dispose();

            // Another shape in the same memory, its codes where the first one has padding.
            var (other, _) = Quantize(scheme, new WeightShape(1010, 544), parameters, seed: 24);
            other.Dispose();
            Assert.ThrowsExactly<ObjectDisposedException>(() => other.Dequantize(0, new float[544]));
        }
    }

    internal static (IWeightGrid Grid, float[] Dequantized) Quantize(IWeightScheme scheme, WeightShape shape, SchemeParameters parameters, int seed)
    {
        var random = new Random(seed);
        var weights = new float[shape.Count];
        for (var i = 0; i < weights.Length; i++)
        {
            weights[i] = (float)((random.NextDouble() - 0.4) * Math.Exp(3 * random.NextDouble()));
        }

        var grid = scheme.CreateGrid(shape, parameters);
        var dequantized = new float[shape.Count];
        grid.FitRows(0, (int)shape.N, weights, []);
        for (var n = 0; n < shape.N; n++)
        {
            var start = (int)(n * shape.K);
            grid.Round(n, 0, weights.AsSpan(start, (int)shape.K), dequantized.AsSpan(start, (int)shape.K));
        }

        return (grid, dequantized);
    }

    private static float[] Decode(IWeightScheme scheme, IReadOnlyList<byte[]> tensors, WeightShape shape, SchemeParameters parameters)
    {
        var values = new float[shape.Count];
        scheme.Decode([.. tensors.Select(bytes => (ReadOnlyMemory<byte>)bytes)], shape, parameters, values);
        return values;
    }

    private static void AssertSameBytes(IReadOnlyList<byte[]> expected, IReadOnlyList<byte[]> actual)
    {
        Assert.HasCount(expected.Count, actual);
        for (var i = 0; i < expected.Count; i++)
        {
            CollectionAssert.AreEqual(expected[i], actual[i]);
        }
    }
}
