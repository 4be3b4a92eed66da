using OrtQuant.Descriptions;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Mixed;

namespace OrtQuant.Tests.Schemes;

/// <summary>The examples of the specifications, against the C# encoder and decoder.</summary>
[TestClass]
public sealed class GoldenTests
{
    public static IEnumerable<object[]> Examples => GoldenExample.All.Select(example => new object[] { example });

    public static IEnumerable<object[]> Schemes => SchemeCatalog.All.Select(scheme => new object[] { scheme });

    [TestMethod]
    [DynamicData(nameof(Schemes))]
    public void EverySchemeHasExamples(IWeightScheme scheme)
    {
        var examples = GoldenExample.Of(scheme).ToList();

        Assert.IsGreaterThanOrEqualTo(3, examples.Count(example => example.Source.Contains("SPEC.md", StringComparison.Ordinal)));
        Assert.IsGreaterThanOrEqualTo(3, examples.Count(example => example.Source.EndsWith(".golden", StringComparison.Ordinal)));
    }

    [TestMethod]
    [DynamicData(nameof(Examples))]
    public void EncodeGivesTheBytes(GoldenExample example)
    {
        var actual = example.Scheme.Encode(GridOf(example));

        AssertEqual(example.Tensors, actual, example);
    }

    [TestMethod]
    [DynamicData(nameof(Examples))]
    public void DecodeGivesTheValues(GoldenExample example)
    {
        var actual = Decode(example, example.Tensors);

        CollectionAssert.AreEqual(Bits(example.Floats("values")), Bits(actual));
    }

    [TestMethod]
    [DynamicData(nameof(Examples))]
    public void ReadGivesTheGridBack(GoldenExample example)
    {
        var grid = example.Scheme.Read([.. example.Tensors.Select(bytes => (ReadOnlyMemory<byte>)bytes)], example.Shape, example.Parameters);

        AssertEqual(example.Tensors, example.Scheme.Encode(grid), example);
    }

    [TestMethod]
    [DynamicData(nameof(Examples))]
    public void RoundToNearestArrivesAtTheBytes(GoldenExample example)
    {
        if (!example.Has("weights"))
        {
            return;
        }

        var weights = example.Floats("weights");
        var k = (int)example.Shape.K;
        var grid = example.Scheme.CreateGrid(example.Shape, example.Parameters);
        grid.FitRows(0, (int)example.Shape.N, weights, []);
        for (var n = 0; n < example.Shape.N; n++)
        {
            grid.Round(n, 0, weights.AsSpan(n * k, k), []);
        }

        AssertEqual(example.Tensors, example.Scheme.Encode(grid), example);
    }

    /// <summary>Negative control: the comparison sees a single bit.</summary>
    [TestMethod]
    [DynamicData(nameof(Examples))]
    public void AFlippedBitIsSeen(GoldenExample example)
    {
        var tensors = example.Tensors;
        var derived = example.Scheme.Op.Inputs.Where(input => input.Role == TensorRole.RowSum).Select(input => input.Name).ToHashSet();
        foreach (var (spec, tensor) in example.Scheme.Tensors(example.Shape, example.Parameters).Zip(tensors))
        {
            if (derived.Contains(spec.Input)) continue;

            tensor[0] ^= 1;
            var actual = Decode(example, tensors);
            tensor[0] ^= 1;

            CollectionAssert.AreNotEqual(Bits(example.Floats("values")), Bits(actual));
        }
    }

    private static float[] Decode(GoldenExample example, IReadOnlyList<byte[]> tensors)
    {
        var values = new float[example.Shape.Count];
        example.Scheme.Decode([.. tensors.Select(bytes => (ReadOnlyMemory<byte>)bytes)], example.Shape, example.Parameters, values);
        return values;
    }

    private static IWeightGrid GridOf(GoldenExample example)
    {
        var grid = example.Scheme.CreateGrid(example.Shape, example.Parameters);
        if (grid is MixedGrid mixed) Prepare(mixed, example);
        for (var n = 0; n < example.Shape.N; n++)
        {
            if (grid is IRowScaledGrid rows) rows.SetRowScale(n, example.Floats("row_scales")[n]);
            var k = (int)example.Shape.K;
            example.Codes.AsSpan(n * k, k).CopyTo(SetGroups(grid, n, example));
        }

        return grid;
    }

    // The parameters of a row; its codes, to be written.
    private static Span<byte> SetGroups(IWeightGrid grid, int n, GoldenExample example)
    {
        switch (grid)
        {
            case IAffineGrid affine:
                var (scales, zeroPoints) = (example.Floats("group_scales"), example.Floats("group_zero_points"));
                for (var g = 0; g < grid.GroupCount; g++) affine.SetGroup(n, g, scales[(n * grid.GroupCount) + g], zeroPoints[(n * grid.GroupCount) + g]);
                return affine.Codes(n);
            case IBinaryCodedGrid binary:
                var (alphas, offsets) = (example.Floats("group_alphas"), example.Floats("group_offsets"));
                for (var g = 0; g < grid.GroupCount; g++)
                {
                    var group = (n * grid.GroupCount) + g;
                    binary.SetGroup(n, g, alphas.AsSpan(group * binary.Planes, binary.Planes), offsets[group]);
                }

                return binary.Codes(n);
            default:
                throw new NotSupportedException($"examples cannot set the groups of a {grid.GetType().Name}");
        }
    }

    // What scheme mixed chooses for rows and tiles: widths, scales of blocks, outliers.
    private static void Prepare(MixedGrid grid, GoldenExample example)
    {
        var refined = example.Floats("refined_groups");
        for (var i = 0; i < refined.Length; i++) grid.Refined(i / grid.GroupCount)[i % grid.GroupCount] = refined[i] != 0;
        var (blocks, slots) = (grid.Geometry.Blocks, grid.Geometry.Outliers);
        var scales = example.Floats("block_scales");
        for (var i = 0; i < scales.Length; i++) grid.Scales(i / blocks)[i % blocks] = scales[i];
        if (!example.Has("outliers_at")) return;
        foreach (var triple in example.Floats("outliers_at").Chunk(3))
        {
            var (n, k) = ((long)triple[0], (int)triple[1]);
            var block = k / grid.Geometry.BlockSize;
            var slot = (block * slots) + grid.Positions(n).Slice(block * slots, slots).IndexOf(MixedGrid.Unused);
            grid.Positions(n)[slot] = (short)(k - (block * grid.Geometry.BlockSize));
            grid.Outliers(n)[slot] = (short)triple[2];
        }
    }

    private static void AssertEqual(IReadOnlyList<byte[]> expected, IReadOnlyList<byte[]> actual, GoldenExample example)
    {
        var specs = example.Scheme.Tensors(example.Shape, example.Parameters);
        Assert.HasCount(expected.Count, actual);
        for (var i = 0; i < expected.Count; i++)
        {
            Assert.HasCount((int)specs[i].ByteLength, expected[i], $"golden length of {specs[i]}");
            CollectionAssert.AreEqual(expected[i], actual[i], specs[i].Input);
        }
    }

    private static int[] Bits(float[] values) => [.. values.Select(BitConverter.SingleToInt32Bits)];
}
