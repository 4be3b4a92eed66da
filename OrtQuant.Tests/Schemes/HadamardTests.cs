using System.Runtime.InteropServices;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;
using Onnx;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.Schemes.Smooth;
using OrtQuant.Tests.Fallback;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Schemes;

/// <summary>The op <c>HadamardTransform</c>: matrices in C#, kernels and function body against each other and against the definition.</summary>
[TestClass]
public sealed class HadamardTests
{
    // float32 sums of up to 2048 terms of either sign.
    private const double Limit = 2e-6;
    private const double HalfLimit = 1e-3;

    [TestMethod]
    public void EveryFactorIsOrthogonal()
    {
        foreach (var m in Hadamard.FactorOrders)
        {
            var h = Hadamard.Matrix(m);
            Assert.IsTrue(h.All(sign => sign is 1 or -1));
            for (var i = 0; i < m; i++)
            {
                for (var j = 0; j < m; j++)
                {
                    Assert.AreEqual(i == j ? m : 0, Enumerable.Range(0, m).Sum(k => h[(i * m) + k] * h[(j * m) + k]), $"order {m}, rows {i} and {j}");
                }
            }
        }
    }

    [TestMethod]
    [DataRow(1, 1)]
    [DataRow(4096, 1)]
    [DataRow(576, 36)]
    [DataRow(1536, 12)]
    [DataRow(2816, 44)]
    [DataRow(8960, 140)]
    [DataRow(11008, 172)]
    [DataRow(13824, 108)]
    [DataRow(14336, 28)]
    [DataRow(17408, 68)]
    [DataRow(18944, 148)]
    [DataRow(92, null)]
    [DataRow(0, null)]
    [DataRow(1 << 25, null)]
    public void OrdersHaveOneFactor(int n, int? factor) => Assert.AreEqual(factor, Hadamard.FactorOf(n));

    /// <summary>Rows of the identity come out as the columns of H: kernel, function body and C# have one matrix.</summary>
    [TestMethod]
    [DataRow(8)]
    [DataRow(48)]
    [DataRow(56)]
    [DataRow(76)]
    [DataRow(172)]
    [DataRow(576)]
    public void EverySideHasTheSameMatrix(int n)
    {
        var identity = new float[n * n];
        for (var i = 0; i < n; i++) identity[i * (n + 1)] = 1;
        var expected = Expected(identity, n);
        var model = Model(n, ElementType.Float32, opset: 18);

        Assert.IsTrue(expected.All(value => Math.Abs(Math.Abs(value) - (1 / Math.Sqrt(n))) < 1e-12));
        Assert.IsLessThan(Limit, MatMulCase.RelativeError(RunKernel(model, identity, n), expected), "kernel");
        Assert.IsLessThan(Limit, MatMulCase.RelativeError(RunFunction(model, identity, n), expected), "function");
        Assert.IsGreaterThan(0.1, MatMulCase.RelativeError(RunKernel(model, identity, n), [.. expected.Reverse()]), "negative control");
    }

    [TestMethod]
    public void KernelsAndFunctionComputeTheDefinition()
    {
        int[] orders = [1, 2, 64, 2048, 12, 40, 288, 1408, 544, 1536];
        int[] opsets = [14, 15, 17, 18, 20, 22];
        foreach (var (index, n) in orders.Index())
        {
            var type = index % 4 == 3 ? ElementType.Float16 : ElementType.Float32;
            var rows = 1 + (index % 3);
            var x = Random(rows * n);
            var model = Model(n, type, opsets[index % opsets.Length]);
            var limit = type == ElementType.Float16 ? HalfLimit : Limit;

            Assert.IsLessThan(limit, MatMulCase.RelativeError(RunKernel(model, x, n), Expected(x, n)), $"kernel, {n}");
            Assert.IsLessThan(limit, MatMulCase.RelativeError(RunFunction(model, x, n), Expected(x, n)), $"function, {n}");
        }
    }

    [TestMethod]
    public void NoRowsGiveNoRows()
    {
        var model = Model(48, ElementType.Float32, opset: 18);

        Assert.IsEmpty(RunKernel(model, [], 48));
        Assert.IsEmpty(RunFunction(model, [], 48));
    }

    [TestMethod]
    public void BadNodesAreNamed()
    {
        Assert.Contains("92 is no order of a Hadamard transform; permitted: powers of two", Assert.ThrowsExactly<OrtQuantException>(() => HadamardOp.Attributes(92)).Message);
        ShouldFail("K is 92; permitted: powers of two up to 16777216 and their multiples by 12, 20", 92, OpAttributeValue.Int("K", 92));
        ShouldFail("attribute 'K' is missing; required: an int", 64);
        ShouldFail("input 0 'X' has shape [1, 64]; required: the last dimension is K = 32", 64, OpAttributeValue.Int("K", 32));
    }

    /// <summary>Applied twice to Sylvester's matrices, which are symmetric, it gives X back; a rotated weight gives the same product.</summary>
    [TestMethod]
    public void ARotatedWeightGivesTheSameProduct()
    {
        const int N = 1536;
        var (x, w) = (Expected(Random(N), N), Expected(Random(N, seed: 2), N));
        var (plainX, plainW) = (Random(N), Random(N, seed: 2));
        var product = plainX.Zip(plainW, (a, b) => (double)a * b).Sum();

        Assert.AreEqual(product, x.Zip(w, (a, b) => a * b).Sum(), 1e-10);
    }

    private static void ShouldFail(string message, int width, params OpAttributeValue[] attributes)
    {
        var x = new TensorMemory(ElementType.Float32, [1, width], new byte[4 * width]);
        OpAttributeValue[] all = [.. attributes, OpAttributeValue.Int("format_version", 1)];

        Assert.Contains(message, Assert.ThrowsExactly<OrtQuantException>(() => NativeOp.Run(HadamardOp.Transform.Name, all, [x], x)).Message);
    }

    private static double[] Expected(float[] x, int n)
    {
        var result = new double[x.Length];
        var (factor, room) = (Hadamard.Matrix(Hadamard.FactorOf(n)!.Value), new double[n]);
        for (var m = 0; m < x.Length / n; m++)
        {
            var row = Array.ConvertAll(x[(m * n)..((m + 1) * n)], value => (double)value);
            Hadamard.Transform(row, factor, room);
            row.CopyTo(result, m * n);
        }

        return result;
    }

    private static byte[] Model(int n, ElementType type, int opset)
    {
        var node = new NodeProto { OpType = HadamardOp.Transform.Name, Domain = "ortquant", Name = "rotation", Input = { "X" }, Output = { "Y" } };
        node.Attribute.AddRange(HadamardOp.Attributes(n).Select(Nodes.Attribute));
        var graph = new GraphProto
        {
            Name = "test",
            Node = { node },
            Input = { ModelBuilder.Value("X", type, "rows", n) },
            Output = { ModelBuilder.Value("Y", type, "rows", n) },
        };
        using var model = OnnxModel.FromProto(new ModelProto { IrVersion = 8, Graph = graph, OpsetImport = { new OperatorSetIdProto { Domain = "", Version = opset } } });
        Assert.IsEmpty(FunctionEmitter.Attach(model, [HadamardOp.Transform]));
        return model.Proto.ToByteArray();
    }

    private static float[] RunFunction(byte[] model, float[] x, int n)
    {
        using var session = new InferenceSession(model);
        return MatMulCase.Run(session, x, x.Length / n, n);
    }

    private static float[] RunKernel(byte[] model, float[] x, int n)
    {
        using var options = new SessionOptions();
        using var session = new InferenceSession(model, options.RegisterOrtQuant());
        return MatMulCase.Run(session, x, x.Length / n, n);
    }

    private static float[] Random(int count, int seed = 1)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (float)(Half)((random.NextDouble() * 4) - 2))];
    }
}
