using System.Runtime.InteropServices;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;
using Onnx;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Dual;

namespace OrtQuant.Tests.Fallback;

/// <summary>The function body of scheme <c>dual</c>, run by ONNX Runtime without the native library: an oracle that shares no code with the kernels.</summary>
[TestClass]
public sealed class DualFallbackTests
{
    // Float level: float32 sums over at most 1000 products, whose parts (codes centred on 8, and the rest of the offset) cancel. int8 level: an activation is off by at most 1/508 of
    // its row's range, uniformly: for a flat distribution 1 / (254 * sqrt(3)) of its norm.
    private const double FloatLimit = 5e-6;
    private const double HalfLimit = 1e-3;
    private const double Int8Limit = 1.2e-2;

    // Both quantize X the same way, except for values next to a tie.
    private const double Int8Parity = 1e-3;

    private static readonly WeightShape[] Shapes = [new(1, 1), new(7, 33), new(17, 172), new(64, 256), new(48, 512), new(45, 1000)];
    private static readonly int[] Opsets = [14, 15, 17, 18, 20, 21, 22];

    public static IEnumerable<object[]> Formats =>
        from groupSize in (int[])[32, 64, 128, 256]
        from level in (int[])[0, 1, 4]
        select new object[] { groupSize, level };

    [TestMethod]
    [DynamicData(nameof(Formats))]
    public void TheFunctionComputesWhatTheWeightsSayAndTheKernelsTheSame(int groupSize, int level)
    {
        foreach (var (index, shape) in Shapes.Index())
        {
            // The other choices vary along, so that every pair of them meets over the formats.
            var number = (index * 7) + groupSize + (level * 5);
            var test = new Case(shape, groupSize, level)
            {
                Type = number % 4 == 1 ? ElementType.Float16 : ElementType.Float32,
                HasBias = number % 5 < 2,
                Rank = number % 3 == 0 ? 3 : 0,
                Opset = Opsets[number % Opsets.Length],
            };
            Check(test, rows: 1 + (number % 3));
        }
    }

    [TestMethod]
    public void NoRowsGiveNoRows()
    {
        var test = new Case(new(17, 172), 64, 4);
        using var function = new InferenceSession(test.Model(test.Tensors()));
        using var options = new SessionOptions();
        using var kernels = new InferenceSession(test.Model(test.Tensors()), options.RegisterOrtQuant());

        Assert.IsEmpty(GroupCase.Run(function, Array.Empty<float>(), 1, 0, 172));
        Assert.IsEmpty(GroupCase.Run(kernels, Array.Empty<float>(), 1, 0, 172));
    }

    [TestMethod]
    public void AFlippedNibbleIsNoticed()
    {
        var test = new Case(new(16, 64), 32, 1);
        var tensors = test.Tensors();
        var expected = test.Reference(tensors, test.Activations(1));
        tensors[0][100] ^= 0x80;
        using var session = new InferenceSession(test.Model(tensors));

        Assert.IsGreaterThan(FloatLimit, GroupCase.RelativeError(GroupCase.Run(session, test.Activations(1), 1, 1, 64), expected));
    }

    [TestMethod]
    public void AnOldOpsetHasNoBody()
    {
        var attributes = DualOp.MatMulAttributes(new(16, 64), new DualParameters(32), 4);
        ElementType?[] inputs = [ElementType.Float32, ElementType.UInt8, ElementType.Float32, ElementType.Int8, ElementType.UInt8, ElementType.Int32];

        Assert.IsNull(DualOp.MatMul.Fallback(new FallbackCall(13, inputs, attributes)));
        Assert.IsNotNull(DualOp.MatMul.Fallback(new FallbackCall(14, inputs, attributes)));
    }

    private static void Check(Case test, int rows)
    {
        var tensors = test.Tensors();
        var x = test.Activations(rows);
        var model = test.Model(tensors);
        using var session = new InferenceSession(model);
        var function = GroupCase.Run(session, x, 1, rows, test.Shape.K);
        using var options = new SessionOptions();
        using var kernels = new InferenceSession(model, options.RegisterOrtQuant());
        var kernel = GroupCase.Run(kernels, x, 1, rows, test.Shape.K);

        var rounding = test.Type == ElementType.Float16 ? HalfLimit : FloatLimit;
        var limit = test.Level == 4 ? Int8Limit : rounding;
        var expected = test.Reference(tensors, x);
        Assert.IsLessThanOrEqualTo(limit, GroupCase.RelativeError(function, expected), $"function, {test}");
        Assert.IsLessThanOrEqualTo(limit, GroupCase.RelativeError(kernel, expected), $"kernel, {test}");
        var parity = test.Level == 4 ? Math.Max(Int8Parity, rounding) : rounding;
        Assert.IsLessThanOrEqualTo(parity, GroupCase.RelativeError(kernel, Array.ConvertAll(function, value => (double)value)), $"kernel against function, {test}");
    }

    /// <summary>One random weight in a model of one op.</summary>
    private sealed record Case(WeightShape Shape, int GroupSize, int Level)
    {
        public ElementType Type { get; init; } = ElementType.Float32;

        public bool HasBias { get; init; }

        public int Rank { get; init; }

        public int Opset { get; init; } = 18;

        private DualParameters Parameters => new(GroupSize);

        public IReadOnlyList<byte[]> Tensors()
        {
            var random = new Random(1);
            using var grid = (IRowScaledGrid)DualScheme.Instance.CreateGrid(Shape, Parameters);
            for (var n = 0L; n < Shape.N; n++)
            {
                random.NextBytes(grid.Codes(n));
                foreach (ref var code in grid.Codes(n)) code &= (byte)grid.MaxCode;
                grid.SetRowScale(n, (float)(random.NextDouble() + 0.5) * 0.001f);
                for (var g = 0; g < grid.GroupCount; g++)
                {
                    grid.SetGroup(n, g, grid.GetRowScale(n) * random.Next(1, 17), (float)(random.NextDouble() * 15));
                }
            }

            return DualScheme.Instance.Encode(grid);
        }

        public float[] Activations(int rows) => Random((int)Shape.K * rows, 5);

        public byte[] Model(IReadOnlyList<byte[]> tensors)
        {
            var node = new NodeProto { OpType = DualOp.MatMul.Name, Domain = "ortquant", Name = "product", Output = { "Y" } };
            node.Attribute.AddRange(DualOp.MatMulAttributes(Shape, Parameters, Level).Select(Nodes.Attribute));
            var graph = new GraphProto { Name = "test", Node = { node } };
            node.Input.Add("X");
            foreach (var (spec, data) in DualScheme.Instance.Tensors(Shape, Parameters).Zip(tensors)) Add(graph, spec.Input, spec.Type, data, [.. spec.Shape]);
            if (HasBias) Add(graph, "bias", Type, Stored(Bias), Shape.N);
            else if (Rank > 0) node.Input.Add("");
            if (Rank > 0)
            {
                Add(graph, "low_rank_a", Type, Stored(LowRankA), Shape.K, Rank);
                Add(graph, "low_rank_b", Type, Stored(LowRankB), Rank, Shape.N);
            }

            graph.Input.Add(Value("X", Shape.K));
            graph.Output.Add(Value("Y", Shape.N));
            var proto = new ModelProto { IrVersion = 8, Graph = graph, OpsetImport = { new OperatorSetIdProto { Domain = "", Version = Opset } } };
            using var model = OnnxModel.FromProto(proto);
            Assert.IsEmpty(FunctionEmitter.Attach(model, [DualOp.MatMul]));
            return model.Proto.ToByteArray();
        }

        /// <summary>Y = X . W^T + bias + (X . A) . B in double precision.</summary>
        public double[] Reference(IReadOnlyList<byte[]> tensors, float[] x)
        {
            var (n, k, rows) = ((int)Shape.N, (int)Shape.K, x.Length / (int)Shape.K);
            var weights = new float[Shape.Count];
            DualScheme.Instance.Decode([.. tensors.Select(tensor => (ReadOnlyMemory<byte>)tensor)], Shape, Parameters, weights);
            var y = new double[rows * n];
            for (var m = 0; m < rows; m++)
            {
                for (var o = 0; o < n; o++)
                {
                    var sum = HasBias ? Bias[o] : 0.0;
                    for (var i = 0; i < k; i++)
                    {
                        sum += (double)x[(m * k) + i] * weights[(o * k) + i];
                        for (var r = 0; r < Rank; r++) sum += (double)x[(m * k) + i] * LowRankA[(i * Rank) + r] * LowRankB[(r * n) + o];
                    }

                    y[(m * n) + o] = sum;
                }
            }

            return y;
        }

        private float[] Bias => field ??= Random((int)Shape.N, 2);

        private float[] LowRankA => field ??= Array.ConvertAll(Random((int)Shape.K * Rank, 3), value => (float)(Half)(0.1f * value));

        private float[] LowRankB => field ??= Array.ConvertAll(Random((int)Shape.N * Rank, 4), value => (float)(Half)(0.1f * value));

        private byte[] Stored(float[] values) => Type == ElementType.Float16
            ? MemoryMarshal.AsBytes<Half>(Array.ConvertAll(values, value => (Half)value)).ToArray()
            : MemoryMarshal.AsBytes<float>(values).ToArray();

        private static void Add(GraphProto graph, string name, ElementType type, byte[] data, params long[] shape)
        {
            var tensor = new TensorProto { Name = name, DataType = (int)type, RawData = ByteString.CopyFrom(data) };
            tensor.Dims.AddRange(shape);
            graph.Initializer.Add(tensor);
            graph.Node[0].Input.Add(name);
        }

        private ValueInfoProto Value(string name, long last)
        {
            var tensor = new TypeProto.Types.Tensor { ElemType = (int)Type, Shape = new TensorShapeProto() };
            tensor.Shape.Dim.Add(new TensorShapeProto.Types.Dimension { DimParam = "batch" });
            tensor.Shape.Dim.Add(new TensorShapeProto.Types.Dimension { DimParam = "rows" });
            tensor.Shape.Dim.Add(new TensorShapeProto.Types.Dimension { DimValue = last });
            return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = tensor } };
        }

        private static float[] Random(int count, int seed)
        {
            var random = new Random(seed);
            var values = new float[count];
            for (var i = 0; i < count; i++) values[i] = (float)(Half)((random.NextDouble() * 4) - 2);
            return values;
        }
    }
}
