using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Tests.Weights;

/// <summary>Views on weights against plain index arithmetic, read in blocks of every kind.</summary>
[TestClass]
public sealed class WeightSourceTests
{
    private static readonly WeightShape Shape = new(37, 53);

    public static IEnumerable<object[]> Storage =>
        from type in (ElementType[])[ElementType.Float32, ElementType.Float16, ElementType.BFloat16, ElementType.Float64]
        from transposed in (bool[])[false, true]
        select new object[] { type, transposed };

    [TestMethod]
    [DynamicData(nameof(Storage))]
    public void TensorsOfEveryTypeAndOrder(ElementType type, bool transposed)
    {
        var expected = Values();
        var stored = new float[expected.Length];
        for (var n = 0; n < Shape.N; n++)
        {
            for (var k = 0; k < Shape.K; k++)
            {
                stored[transposed ? (k * Shape.N) + n : (n * Shape.K) + k] = expected[(n * Shape.K) + k];
            }
        }

        AssertReads(expected, new TensorWeight(LazyTensor.FromFloats(type, [53, 37], stored), Shape, transposed));
    }

    [TestMethod]
    [DataRow(false)]
    [DataRow(true)]
    public void OneExpertOfMany(bool transposed)
    {
        var shape = new WeightShape(3, 5);
        var values = Enumerable.Range(0, 4 * 15).Select(i => (float)i).ToArray();
        var expert = new TensorWeight(LazyTensor.FromFloats(ElementType.Float16, [4, 5, 3], values), shape, transposed, firstElement: 2 * 15);

        var expected = transposed
            ? Enumerable.Range(0, 15).Select(i => 30f + (i % 5 * 3) + (i / 5)).ToArray()
            : Enumerable.Range(30, 15).Select(i => (float)i).ToArray();

        CollectionAssert.AreEqual(expected, expert.ReadAll());
    }

    [TestMethod]
    public void WhatATensorCannotBeIsNamed()
    {
        var type = Assert.ThrowsExactly<OrtQuantException>(() => new TensorWeight(LazyTensor.FromBytes(ElementType.Int8, [2, 2], new byte[4]), new(2, 2), false));
        Assert.Contains("Int8", type.Message);

        var range = Assert.ThrowsExactly<OrtQuantException>(() => new TensorWeight(LazyTensor.FromFloats(ElementType.Float32, [2, 2], new float[4]), new(2, 2), false, 1));
        Assert.Contains("[2, 2]", range.Message);
    }

    [TestMethod]
    public void ScaledByRowsAndColumns()
    {
        var source = Dense();
        var rows = Enumerable.Range(0, 37).Select(n => 1f + n).ToArray();
        var columns = Enumerable.Range(0, 53).Select(k => 0.5f * k).ToArray();
        var values = Values();

        AssertReads([.. values.Select(value => value * 3)], new ScaledWeight(source, 3));
        AssertReads([.. values.Select((value, i) => value * columns[i % 53] * rows[i / 53])], new ScaledWeight(source, rows, columns));
        AssertReads([.. values.Select((value, i) => value * columns[i % 53])], new ScaledWeight(source, default, columns));
        AssertReads([.. values.Select((value, i) => value * rows[i / 53])], new ScaledWeight(source, rows, default));
        Assert.ThrowsExactly<ArgumentException>(() => new ScaledWeight(source, columns, default));
    }

    [TestMethod]
    public void ConcatenatedAndSliced()
    {
        var source = Dense();
        IWeightSource[] parts = [new RowSlice(source, 0, 5), new RowSlice(source, 5, 1), new RowSlice(source, 6, 31)];

        AssertReads(Values(), new ConcatenatedWeight(parts));
        AssertReads(Values()[(5 * 53)..(6 * 53)], parts[1]);
        Assert.ThrowsExactly<ArgumentException>(() => new ConcatenatedWeight([]));
        Assert.ThrowsExactly<ArgumentException>(() => new ConcatenatedWeight([source, new DenseWeight(new(1, 2), new float[2])]));
        Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => new RowSlice(source, 36, 2));
    }

    [TestMethod]
    public void Permuted()
    {
        var random = new Random(11);
        var rowOrder = Enumerable.Range(0, 37).ToArray();
        var columnOrder = Enumerable.Range(0, 53).ToArray();
        random.Shuffle(rowOrder.AsSpan(10));
        random.Shuffle(columnOrder);
        var values = Values();

        AssertReads([.. values.Select((_, i) => values[(rowOrder[i / 53] * 53) + columnOrder[i % 53]])], new PermutedWeight(Dense(), rowOrder, columnOrder));
        AssertReads([.. values.Select((_, i) => values[(i / 53 * 53) + columnOrder[i % 53]])], new PermutedWeight(Dense(), [], columnOrder));
        AssertReads(values, new PermutedWeight(Dense(), [], []));
        Assert.ThrowsExactly<ArgumentException>(() => new PermutedWeight(Dense(), [.. rowOrder.Select(_ => 0)], []));
    }

    [TestMethod]
    public void EncodedWeightsReadAsTheyDecode()
    {
        var scheme = GroupScheme.Instance;
        var parameters = new GroupParameters(4, 16);
        var grid = scheme.CreateGrid(Shape, parameters);
        var values = Values();
        grid.FitRows(0, 37, values, []);
        for (var n = 0; n < 37; n++)
        {
            grid.Round(n, 0, values.AsSpan(n * 53, 53), values.AsSpan(n * 53, 53));
        }

        AssertReads(values, new EncodedWeight(scheme, Shape, parameters, [.. scheme.Encode(grid).Select(bytes => (ReadOnlyMemory<byte>)bytes)]));
    }

    private static void AssertReads(float[] expected, IWeightSource source)
    {
        var k = (int)source.Shape.K;
        CollectionAssert.AreEqual(expected, source.ReadAll());
        foreach (var block in (int[])[1, 3, 16, 30])
        {
            for (var n0 = 0L; n0 < source.Shape.N; n0 += block)
            {
                var count = (int)Math.Min(block, source.Shape.N - n0);
                var rows = new float[count * k];
                source.ReadRows(n0, count, rows);
                CollectionAssert.AreEqual(expected[(int)(n0 * k)..(int)((n0 + count) * k)], rows);
            }
        }

        Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => source.ReadRows(source.Shape.N, 1, new float[k]));
        Assert.ThrowsExactly<ArgumentOutOfRangeException>(() => source.ReadRows(-1, 1, new float[k]));
        Assert.ThrowsExactly<ArgumentException>(() => source.ReadRows(0, 1, new float[k - 1]));
    }

    // Multiples of 1/8 below 16: exact in every type that is read, bfloat16 included.
    private static float[] Values() => [.. Enumerable.Range(0, 37 * 53).Select(i => ((i * 7 % 256) - 128) / 8f)];

    private static DenseWeight Dense() => new(Shape, Values());
}
