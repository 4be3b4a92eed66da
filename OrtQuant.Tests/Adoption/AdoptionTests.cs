using System.Runtime.InteropServices;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;
using Onnx;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;
using OrtQuant.Tests.Fallback;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Adoption;

/// <summary>Weights that are quantized already keep every code, scale and zero point, there and back.</summary>
[TestClass]
public sealed class AdoptionTests
{
    private const int N = 37;

    public static IEnumerable<object[]> Formats =>
        from bits in (int[])[2, 4, 8]
        from zeroPoints in (string[])["none", "packed", "float"]
        from block in (int[])[16, 32, 128]
        from k in (int[])[64, 100]
        select new object[] { bits, zeroPoints, block, k };

    [TestMethod]
    [DynamicData(nameof(Formats))]
    public void MatMulNBitsKeepsEveryCode(int bits, string zeroPoints, int block, int k)
    {
        using var folder = new TemporaryFolder();
        var weight = new Quantized(bits, block, k, seed: bits + block + k);
        var path = MicrosoftModel(weight, zeroPoints, hasBias: k == 100).Save(folder.Path);
        var own = folder.File("own", "model.onnx");

        var plan = Rewrite(path, own, new PlanOptions());

        var planned = (GroupParameters)plan.Weights.Single().Parameters;
        var kind = zeroPoints switch { "none" => ZeroPointKind.None, "packed" => ZeroPointKind.Integer, _ => ZeroPointKind.Float };
        Assert.AreEqual(new GroupParameters(bits, block, kind, ElementType.Float32), planned);
        using var grid = ReadBack(own, new WeightShape(N, k), planned);
        for (var n = 0; n < N; n++)
        {
            CollectionAssert.AreEqual(weight.Codes[n], grid.Codes(n)[..k].ToArray(), $"row {n}");
            for (var g = 0; g < weight.Groups; g++)
            {
                var expected = zeroPoints switch { "none" => 1 << (bits - 1), "packed" => weight.ZeroPoints[n, g], _ => weight.FloatZeroPoints[n, g] };
                Assert.AreEqual((weight.Scales[n, g], expected), grid.GetGroup(n, g));
            }
        }

        if (zeroPoints == "float" && bits != 4) return;
        var back = folder.File("back", "model.onnx");
        Rewrite(own, back, new PlanOptions { Emit = EmittedOps.Microsoft });
        using var before = OnnxModel.Load(path);
        using var after = OnnxModel.Load(back);
        var (first, last) = (Product(before), Product(after));
        for (var input = 1; input < 4; input++)
        {
            CollectionAssert.AreEqual(Bytes(first, input), Bytes(last, input), $"input {input}");
        }

        Assert.AreEqual(first.GetInt("block_size", 0), last.GetInt("block_size", 0));
        Assert.AreEqual(first.GetInt("accuracy_level", 0), last.GetInt("accuracy_level", 0) & ~1, "0 and 1 are the same");
    }

    [TestMethod]
    [DataRow(ElementType.Int4, 32, false)]
    [DataRow(ElementType.Int4, 32, true)]
    [DataRow(ElementType.UInt4, 16, false)]
    [DataRow(ElementType.UInt4, 64, true)]
    [DataRow(ElementType.Int8, 32, false)]
    [DataRow(ElementType.UInt8, 0, false)]
    [DataRow(ElementType.Int8, 0, true)]
    public void DequantizedMatMulComputesTheSame(ElementType type, int block, bool isTransposed)
    {
        foreach (var hasZeroPoints in (bool[])[false, true])
        {
            using var folder = new TemporaryFolder();
            var path = DequantizedModel(type, block, isTransposed, hasZeroPoints).Save(folder.Path);
            var own = folder.File("own", "model.onnx");

            var plan = Rewrite(path, own, new PlanOptions { AccuracyLevel = 1 });

            Assert.AreEqual(PlannedWeight.Adopt, plan.Weights.Single().Algorithm);
            var x = new GroupCase(new WeightShape(N, 128), new GroupParameters()).Activations(3);

            // Unoptimized: otherwise ONNX Runtime makes an int8 product of it.
            using var reference = SessionFactory.Open(path, new SessionSettings { UseLibrary = false, OptimizationLevel = GraphOptimizationLevel.ORT_DISABLE_ALL });
            var expected = Array.ConvertAll(GroupCase.Run(reference, x, 1, 3, 128), value => (double)value);
            foreach (var useLibrary in (bool[])[true, false])
            {
                using var session = SessionFactory.Open(own, new SessionSettings { UseLibrary = useLibrary });
                Assert.IsLessThan(2e-6, GroupCase.RelativeError(GroupCase.Run(session, x, 1, 3, 128), expected), $"{type}, block {block}, zero points {hasZeroPoints}");
            }
        }
    }

    [TestMethod]
    [DataRow(ElementType.Int4, 32, false)]
    [DataRow(ElementType.UInt4, 16, true)]
    [DataRow(ElementType.Int8, 0, true)]
    public void DequantizedGemmComputesTheSame(ElementType type, int block, bool isTransposed)
    {
        using var folder = new TemporaryFolder();
        var path = DequantizedModel(type, block, isTransposed, hasZeroPoints: true, isGemm: true).Save(folder.Path);
        var own = folder.File("own", "model.onnx");
        var plan = Rewrite(path, own, new PlanOptions { AccuracyLevel = 1 });
        Assert.AreEqual(PlannedWeight.Adopt, plan.Weights.Single().Algorithm);
        var expected = FixtureRunner.Run(path, new SessionSettings { UseLibrary = false, OptimizationLevel = GraphOptimizationLevel.ORT_DISABLE_ALL });
        Assert.IsLessThan(2e-6, FixtureRunner.RelativeError(expected, FixtureRunner.Run(own, new SessionSettings())));
    }

    [TestMethod]
    public void DequantizedGemmWithAlphaIsListed()
    {
        var builder = DequantizedModel(ElementType.Int4, 32, isTransposed: false, hasZeroPoints: false, isGemm: true);
        builder.Proto.Graph.Node[^1].Attribute.Add(ModelBuilder.Float("alpha", 2));
        using var model = OnnxModel.FromProto(builder.Proto);
        Assert.Contains("alpha 2", QuantizationPlan.Create(model).Skipped.Single().Reason);
    }

    [TestMethod]
    public void AHeadAndItsEmbeddingStayOneWeight()
    {
        using var folder = new TemporaryFolder();
        var weight = new Quantized(4, 32, 64, seed: 3);
        var builder = MicrosoftModel(weight, "packed", hasBias: false)
            .Input("ids", ElementType.Int64, "tokens")
            .Output("rows", ElementType.Float32, "tokens", 64L)
            .Initializer(ModelBuilder.Tensor("flat", ElementType.Int64, [2], [N, 32]))
            .Node("Reshape", ["B", "flat"], ["table"])
            .Node(Node("com.microsoft", "GatherBlockQuantized", "gather", ["table", "ids", "scales", "zero_points"], "rows", ("bits", 4), ("block_size", 32), ("gather_axis", 0), ("quantize_axis", 1)));
        var path = builder.Save(folder.Path);
        var own = folder.File("own", "model.onnx");

        var plan = Rewrite(path, own, new PlanOptions());

        Assert.HasCount(2, plan.Weights.Single().Consumers);
        using var model = OnnxModel.Load(own);
        var nodes = model.Graph.Nodes.Where(node => node.Domain == "ortquant").ToArray();
        CollectionAssert.AreEquivalent((string[])["MatMulNBits", "GatherNBits"], nodes.Select(node => node.OpType).ToArray());
        Assert.AreEqual(nodes[0].Inputs[1], nodes[1].Inputs[1], "one set of codes");

        var back = folder.File("back", "model.onnx");
        Rewrite(own, back, new PlanOptions { Emit = EmittedOps.Microsoft });
        using var restored = OnnxModel.Load(back);
        Assert.AreEqual(1, restored.Graph.Initializers.Count(value => value.Constant!.Type == ElementType.UInt8 && value.Constant!.Shape.Count == 3));
        Assert.AreEqual(1, restored.Graph.Nodes.Count(node => node.OpType == "GatherBlockQuantized"));
    }

    [TestMethod]
    public void WhatCannotBeHeldIsLeftAloneWithTheReason()
    {
        var weight = new Quantized(4, 32, 64, seed: 1);
        AssertLeftAlone(MicrosoftModel(weight, "packed", hasBias: false, groupIndex: true), "g_idx");
        AssertLeftAlone(MicrosoftModel(weight, "packed", hasBias: false, attributes: ("weight_prepacked", 1)), "weight_prepacked is 1");
        AssertLeftAlone(MicrosoftModel(weight with { }, "packed", hasBias: false, attributes: ("bits", 5)), "5 bits");
        AssertLeftAlone(MicrosoftModel(weight, "packed", hasBias: false, attributes: ("N", N + 1)), "bytes");
    }

    [TestMethod]
    [DataRow(3, 32, "3 bits")]
    [DataRow(4, 512, "512")]
    public void MicrosoftOpsAreNotWrittenWhereTheyCannotSayIt(int bits, int groupSize, string reason)
    {
        using var folder = new TemporaryFolder();
        var builder = new ModelBuilder().Input("X", ElementType.Float32, "rows", 1024L).Output("Y", ElementType.Float32, "rows", 32L)
            .Weight("W", ElementType.Float32, 1, 1024, 32).Node("MatMul", ["X", "W"], ["Y"]);
        var plan = Rewrite(builder.Save(folder.Path), folder.File("out", "model.onnx"), new PlanOptions { Bits = bits, GroupSize = groupSize, Emit = EmittedOps.Microsoft, HeadBits = bits });

        Assert.IsEmpty(plan.Weights);
        Assert.Contains(reason, plan.Skipped.Single().Reason);
    }

    private static void AssertLeftAlone(ModelBuilder builder, string reason)
    {
        using var folder = new TemporaryFolder();
        using var model = builder.Load(folder.Path);
        var plan = QuantizationPlan.Create(model);

        Assert.IsEmpty(plan.Weights);
        Assert.Contains(reason, plan.Skipped.Single().Reason);
    }

    private static QuantizationPlan Rewrite(string path, string output, PlanOptions options)
    {
        using var model = OnnxModel.Load(path);
        var plan = QuantizationPlan.Create(model, options);
        ModelRewriter.Rewrite(model, plan, output);
        return plan;
    }

    private static IAffineGrid ReadBack(string path, WeightShape shape, GroupParameters parameters)
    {
        using var model = OnnxModel.Load(path);
        var node = Product(model);
        var tensors = node.Inputs.Skip(1).Take(3).OfType<OnnxValue>().Select(value => (ReadOnlyMemory<byte>)value.Constant!.ReadBytes()).ToArray();
        return (IAffineGrid)GroupScheme.Instance.Read(tensors[..(parameters.ZeroPoint == ZeroPointKind.None ? 2 : 3)], shape, parameters);
    }

    private static OnnxNode Product(OnnxModel model) => model.Graph.Nodes.Single(node => node.OpType == "MatMulNBits");

    private static byte[] Bytes(OnnxNode node, int input) => node.Inputs.ElementAtOrDefault(input)?.Constant?.ReadBytes() ?? [];

    private static ModelBuilder MicrosoftModel(Quantized weight, string zeroPoints, bool hasBias, bool groupIndex = false, params (string Name, long Value)[] attributes)
    {
        var k = (long)weight.K;
        var builder = new ModelBuilder(21, 10).Opset("com.microsoft", 1)
            .Input("X", ElementType.Float32, "rows", k).Output("Y", ElementType.Float32, "rows", (long)N)
            .Initializer(Raw("B", ElementType.UInt8, [N, weight.Groups, weight.Block * weight.Bits / 8], weight.PackRows()))
            .Initializer(ModelBuilder.Tensor("scales", ElementType.Float32, [N, weight.Groups], [.. weight.Scales.Cast<float>()]));
        if (zeroPoints == "packed") builder.Initializer(Raw("zero_points", ElementType.UInt8, [N, ((weight.Groups * weight.Bits) + 7) / 8], weight.PackZeroPoints()));
        if (zeroPoints == "float") builder.Initializer(ModelBuilder.Tensor("zero_points", ElementType.Float32, [N, weight.Groups], [.. weight.FloatZeroPoints.Cast<float>()]));
        if (hasBias) builder.Weight("bias", ElementType.Float32, 9, N);
        if (groupIndex) builder.Initializer(ModelBuilder.Tensor("g_idx", ElementType.Int32, [k], [.. Enumerable.Range(0, (int)k).Select(i => (float)(i / weight.Block))]));
        string[] inputs = ["X", "B", "scales", zeroPoints == "none" ? "" : "zero_points", groupIndex ? "g_idx" : "", hasBias ? "bias" : ""];
        var values = new Dictionary<string, long> { ["K"] = k, ["N"] = N, ["bits"] = weight.Bits, ["block_size"] = weight.Block };
        foreach (var (name, value) in attributes) values[name] = value;
        return builder.Node(Node(
            "com.microsoft", "MatMulNBits", "product", inputs[..(Array.FindLastIndex(inputs, input => input.Length > 0) + 1)], "Y", [.. values.Select(pair => (pair.Key, pair.Value))]));
    }

    private static ModelBuilder DequantizedModel(ElementType type, int block, bool isTransposed, bool hasZeroPoints, bool isGemm = false)
    {
        const int K = 128;
        var random = new Random(5);
        var groups = block == 0 ? 1 : K / block;
        var count = type.BitWidth() == 8 ? N * K : N * K / 2;
        var codes = new byte[count];
        random.NextBytes(codes);
        var zeroPoints = new byte[type.ByteLength((long)N * groups)];
        random.NextBytes(zeroPoints);
        long[] shape = isTransposed ? [N, K] : [K, N];
        long[] groupShape = block == 0 ? [N] : isTransposed ? [N, groups] : [groups, N];
        var scales = Enumerable.Range(0, N * groups).Select(_ => (float)((random.NextDouble() * 0.1) + 0.01)).ToArray();
        object[] rows = isGemm ? ["rows"] : ["batch", "rows"];
        var builder = new ModelBuilder(21, 10).Input("X", ElementType.Float32, [.. rows, (long)K]).Output("Y", ElementType.Float32, [.. rows, (long)N])
            .Initializer(Raw("W", type, shape, codes)).Initializer(ModelBuilder.Tensor("scales", ElementType.Float32, groupShape, scales));
        if (hasZeroPoints) builder.Initializer(Raw("zero_points", type, groupShape, zeroPoints));
        var axis = (block == 0) == isTransposed ? 0 : 1;
        if (block > 0) axis = isTransposed ? 1 : 0;
        (string, long)[] attributes = block > 0 ? [("axis", axis), ("block_size", block)] : [("axis", axis)];
        builder.Node(Node("", "DequantizeLinear", "dequantize", hasZeroPoints ? ["W", "scales", "zero_points"] : ["W", "scales"], "D", attributes));
        if (isGemm) return builder.Weight("bias", ElementType.Float32, 9, N).Node("Gemm", ["X", "D", "bias"], ["Y"], ModelBuilder.Int("transB", isTransposed ? 1 : 0));
        if (isTransposed) builder.Node("Transpose", ["D"], ["T"]);
        return builder.Node("MatMul", ["X", isTransposed ? "T" : "D"], ["Y"]);
    }

    private static NodeProto Node(string domain, string opType, string name, string[] inputs, string output, params (string Name, long Value)[] attributes) => new()
    {
        Domain = domain,
        OpType = opType,
        Name = name,
        Input = { inputs },
        Output = { output },
        Attribute = { attributes.Select(pair => new AttributeProto { Name = pair.Name, Type = AttributeProto.Types.AttributeType.Int, I = pair.Value }) },
    };

    private static TensorProto Raw(string name, ElementType type, long[] shape, byte[] data) =>
        new() { Name = name, DataType = (int)type, Dims = { shape }, RawData = ByteString.CopyFrom(data) };

    /// <summary>Random groups, packed as the documentation of <c>com.microsoft::MatMulNBits</c> says, by code of its own.</summary>
    private sealed record Quantized
    {
        public Quantized(int bits, int block, int k, int seed)
        {
            (Bits, Block, K) = (bits, block, k);
            var random = new Random(seed);
            Codes = [.. Enumerable.Range(0, N).Select(_ => Enumerable.Range(0, k).Select(_ => (byte)random.Next(1 << bits)).ToArray())];
            (Scales, ZeroPoints, FloatZeroPoints) = (new float[N, Groups], new byte[N, Groups], new float[N, Groups]);
            for (var i = 0; i < N * Groups; i++)
            {
                Scales[i / Groups, i % Groups] = (float)random.NextDouble() - 0.5f;
                ZeroPoints[i / Groups, i % Groups] = (byte)random.Next(1 << bits);
                FloatZeroPoints[i / Groups, i % Groups] = (float)random.NextDouble() * (1 << bits);
            }
        }

        public int Bits { get; }

        public int Block { get; }

        public int K { get; }

        public int Groups => (K + Block - 1) / Block;

        public byte[][] Codes { get; }

        public float[,] Scales { get; }

        public byte[,] ZeroPoints { get; }

        public float[,] FloatZeroPoints { get; }

        public byte[] PackRows() => [.. Codes.SelectMany(row => Pack([.. row, .. new byte[(Groups * Block) - K]]))];

        public byte[] PackZeroPoints() =>
            [.. Enumerable.Range(0, N).SelectMany(n => Pack([.. Enumerable.Range(0, Groups).Select(g => ZeroPoints[n, g])]))];

        private byte[] Pack(byte[] values) => [.. values.Chunk(8 / Bits).Select(fields =>
            (byte)fields.Select((field, i) => field << (i * Bits)).Sum())];
    }
}
