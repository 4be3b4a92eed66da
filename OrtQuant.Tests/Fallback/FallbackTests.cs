using System.Runtime.InteropServices;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;
using Onnx;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Fallback;

/// <summary>The function bodies, run by ONNX Runtime without the native library: an oracle that shares no code with the kernels.</summary>
[TestClass]
public sealed class FallbackTests
{
    // Float level: the rounding of float32 sums over at most 1000 products. int8 level: one activation is off by at most 1/254 of
    // its block's largest, uniformly: 1 / (254 * sqrt(3)) of the block's norm for a flat distribution, below 1 % for any seen here.
    private const double FloatLimit = 2e-6;
    private const double HalfLimit = 1e-3;
    private const double Int8Limit = 1.2e-2;

    private static readonly WeightShape[] Shapes = [new(1, 1), new(7, 33), new(17, 172), new(64, 100), new(48, 512), new(45, 1000)];

    private static readonly int[] Opsets = [14, 15, 17, 18, 20, 21, 22];

    private static readonly int[] GroupSizes = [16, 32, 64, 128, 256, 512, GroupParameters.WholeRow];

    public static IEnumerable<object[]> Formats =>
        from bits in (int[])[2, 3, 4, 8]
        from zeroPoint in Enum.GetValues<ZeroPointKind>()
        from groupSize in GroupSizes
        select new object[] { bits, zeroPoint, groupSize };

    [TestMethod]
    [DynamicData(nameof(Formats))]
    public void MatMulComputesWhatTheWeightsSay(int bits, ZeroPointKind zeroPoint, int groupSize)
    {
        var seed = (bits * 10000) + ((int)zeroPoint * 1000) + groupSize;
        foreach (var (index, shape) in Shapes.Index())
        {
            // The other choices vary along, so that every pair of them meets over the formats.
            var number = (index * 7) + (bits * 5) + ((int)zeroPoint * 3) + Array.IndexOf(GroupSizes, groupSize);
            var test = new GroupCase(shape, new GroupParameters(bits, groupSize, zeroPoint, number % 2 == 0 ? ElementType.Float16 : ElementType.Float32))
            {
                AccuracyLevel = (number % 3) switch { 0 => 4, 1 => 0, _ => 1 },
                Type = number % 4 == 1 ? ElementType.Float16 : ElementType.Float32,
                HasBias = number % 5 < 2,
                Rank = number % 7 == 0 ? 3 : 0,
                Opset = Opsets[number % Opsets.Length],
                Seed = seed,
            };
            AssertMatMul(test, rows: number % 6 == 0 ? 0 : 1 + (number % 3));
        }
    }

    [TestMethod]
    public void AllOptionalInputsTogether()
    {
        foreach (var type in (ElementType[])[ElementType.Float32, ElementType.Float16])
        {
            foreach (var zeroPoint in Enum.GetValues<ZeroPointKind>())
            {
                foreach (var (hasBias, rank) in ((bool, int)[])[(false, 0), (true, 0), (false, 2), (true, 2)])
                {
                    AssertMatMul(new GroupCase(new(32, 64), new GroupParameters(4, 32, zeroPoint)) { Type = type, HasBias = hasBias, Rank = rank }, rows: 2);
                }
            }
        }
    }

    [TestMethod]
    [DynamicData(nameof(Formats))]
    public void GatherGivesTheDequantizedRowsExactly(int bits, ZeroPointKind zeroPoint, int groupSize)
    {
        foreach (var (index, shape) in Shapes.Index())
        {
            var test = new GroupCase(shape, new GroupParameters(bits, groupSize, zeroPoint, index % 2 == 0 ? ElementType.Float16 : ElementType.Float32))
            {
                Type = (index + bits) % 3 == 0 ? ElementType.Float16 : ElementType.Float32,
                Opset = index % 2 == 0 ? 14 : 21,
                Seed = index,
            };
            var tensors = test.Pack();
            var weights = test.Decode(tensors);
            long[] rows = [0, shape.N - 1, shape.N / 2, -1, -shape.N, shape.N / 3];
            using var session = new InferenceSession(test.GatherModel(tensors, index % 2 == 0 ? ElementType.Int64 : ElementType.Int32));

            Array indices = index % 2 == 0 ? rows : Array.ConvertAll(rows, row => (int)row);
            var actual = GroupCase.Run(session, indices, 2, 3);

            var expected = rows.SelectMany(row => weights.AsSpan((int)((row + shape.N) % shape.N * shape.K), (int)shape.K).ToArray());
            if (test.Type == ElementType.Float16) expected = expected.Select(value => (float)(Half)value);
            CollectionAssert.AreEqual(expected.ToArray(), actual, $"{test}");
            Assert.IsEmpty(GroupCase.Run(session, index % 2 == 0 ? Array.Empty<long>() : Array.Empty<int>(), 0, 3));
        }
    }

    [TestMethod]
    [DataRow(18, 8)]
    [DataRow(22, 10)]
    public void BodiesOfOneModelAreKeptApart(int opset, int irVersion)
    {
        // Three products in a row, each of which needs another body, and a fourth that shares the first one's.
        GroupParameters[] parameters = [new(4, 32, ZeroPointKind.Integer), new(4, 32, ZeroPointKind.None), new(3, 16, ZeroPointKind.Float), new(8, 16, ZeroPointKind.Integer)];
        var shape = new WeightShape(64, 64);
        var graph = new GraphProto { Name = "chain" };
        var expected = (double[]?)null;
        var x = new GroupCase(shape, parameters[0]).Activations(2);
        foreach (var (i, scheme) in parameters.Index())
        {
            var test = new GroupCase(shape, scheme) { Seed = i + 1 };
            var tensors = test.Pack();
            var single = ModelProto.Parser.ParseFrom(test.MatMulModel(tensors)).Graph;
            foreach (var initializer in single.Initializer)
            {
                initializer.Name += i;
                graph.Initializer.Add(initializer);
            }

            var node = single.Node[0];
            for (var input = 1; input < node.Input.Count; input++) node.Input[input] += i;
            node.Input[0] = i == 0 ? "X" : $"Y{i - 1}";
            node.Output[0] = i == parameters.Length - 1 ? "Y" : $"Y{i}";
            node.Name += i;
            node.ClearOverload();
            graph.Node.Add(node);
            if (i == 0) graph.Input.Add(single.Input);
            if (i == parameters.Length - 1) graph.Output.Add(single.Output);
            else graph.ValueInfo.Add(new ValueInfoProto { Name = $"Y{i}", Type = single.Output[0].Type });
            expected = test.Reference(test.Decode(tensors), expected is null ? x : Array.ConvertAll(expected, value => (float)value));
        }

        using var model = OnnxModel.FromProto(new ModelProto { IrVersion = irVersion, Graph = graph, OpsetImport = { new OperatorSetIdProto { Version = opset } } });
        Assert.IsEmpty(FunctionEmitter.Attach(model, [GroupOp.MatMul, GroupOp.Gather]));

        CollectionAssert.AreEqual((string[])["", "float_3bit", "symmetric"], model.Proto.Functions.Select(function => function.Overload).ToArray());
        Assert.AreEqual(10, model.Proto.IrVersion);
        using var session = new InferenceSession(model.Proto.ToByteArray());
        Assert.IsLessThan(1e-5, GroupCase.RelativeError(GroupCase.Run(session, x, 1, 2, 64), expected!));
        using var options = new SessionOptions();
        using var kernels = new InferenceSession(model.Proto.ToByteArray(), options.RegisterOrtQuant());
        Assert.IsLessThan(1e-5, GroupCase.RelativeError(GroupCase.Run(kernels, x, 1, 2, 64), expected!));

        FunctionEmitter.Attach(model, [GroupOp.MatMul, GroupOp.Gather]);
        Assert.HasCount(3, model.Proto.Functions, "a second pass replaces the functions of the first");
    }

    [TestMethod]
    public void OneBodyNeedsNoOverload()
    {
        var test = new GroupCase(new(32, 64), new GroupParameters(4, 32, ZeroPointKind.Integer)) { IrVersion = 7 };
        var model = ModelProto.Parser.ParseFrom(test.MatMulModel(test.Pack()));

        Assert.AreEqual("", model.Functions.Single().Overload);
        Assert.AreEqual("", model.Graph.Node.Single().Overload);
        Assert.AreEqual(8, model.IrVersion);
    }

    [TestMethod]
    public void AnOldOpsetHasNoBody()
    {
        var test = new GroupCase(new(32, 64), new GroupParameters());
        var node = ModelProto.Parser.ParseFrom(test.MatMulModel(test.Pack())).Graph.Node[0];
        var attributes = node.Attribute.Where(attribute => attribute.Type == AttributeProto.Types.AttributeType.Int)
            .Select(attribute => OpAttributeValue.Int(attribute.Name, attribute.I)).ToArray();

        Assert.IsNull(GroupOp.MatMul.Fallback(new FallbackCall(13, [ElementType.Float32, ElementType.UInt8, ElementType.Float16, ElementType.UInt8], attributes)));
        Assert.IsNotNull(GroupOp.MatMul.Fallback(new FallbackCall(14, [ElementType.Float32, ElementType.UInt8, ElementType.Float16, ElementType.UInt8], attributes)));
    }

    [TestMethod]
    public void AFlippedNibbleIsNoticed()
    {
        var test = new GroupCase(new(16, 64), new GroupParameters(4, 32, ZeroPointKind.Integer));
        var tensors = test.Pack();
        var weights = test.Decode(tensors);
        var x = test.Activations(1);
        tensors[0][100] ^= 0x80;
        using var session = new InferenceSession(test.MatMulModel(tensors));

        Assert.IsGreaterThan(FloatLimit, GroupCase.RelativeError(GroupCase.Run(session, x, 1, 1, 64), test.Reference(weights, x)));
    }

    private static void AssertMatMul(GroupCase test, int rows)
    {
        using var folder = new TemporaryFolder();
        var optimized = folder.File("optimized.onnx");
        var tensors = test.Pack();
        var model = test.MatMulModel(tensors);
        var x = test.Activations(rows);
        var expected = test.Reference(test.Decode(tensors), x);
        var limit = test.AccuracyLevel == 4 ? Int8Limit : test.Type == ElementType.Float16 ? HalfLimit : FloatLimit;

        using var options = new SessionOptions { OptimizedModelFilePath = optimized, LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };
        using var session = new InferenceSession(model, options);
        var actual = GroupCase.Run(session, x, 1, rows, test.Shape.K);
        Assert.IsLessThanOrEqualTo(limit, GroupCase.RelativeError(actual, expected), $"{test}");
        AssertNothingIsRearrangedAtRunTime(ModelProto.Parser.ParseFrom(File.ReadAllBytes(optimized)).Graph, test);

        using var withLibrary = new SessionOptions();
        using var kernels = new InferenceSession(model, withLibrary.RegisterOrtQuant());
        var kernel = GroupCase.Run(kernels, x, 1, rows, test.Shape.K);
        // At the int8 level both quantize the same blocks of X the same way, except for values next to a tie (hence 1e-3). Two more
        // exceptions: ONNX Runtime computes 2 bits in groups of 16 in float, and the correction of float zero points sums X itself.
        var isLikewise = test.Format.ZeroPoint != ZeroPointKind.Float && test.Format is not { Bits: 2, GroupSize: 16 };
        var parity = test.AccuracyLevel == 4 ? (isLikewise ? 1e-3 : Int8Limit) : limit;
        Assert.IsLessThanOrEqualTo(parity, GroupCase.RelativeError(kernel, Array.ConvertAll(actual, value => (double)value)), $"kernel against function, {test}");
    }

    // Only what depends on X may be left: the product, conversions of X and Y, low-rank terms, and the correction of float zero points.
    private static void AssertNothingIsRearrangedAtRunTime(GraphProto graph, GroupCase test)
    {
        var constants = graph.Initializer.Select(tensor => tensor.Name).ToHashSet();
        foreach (var node in graph.Node)
        {
            Assert.IsFalse(node.Input.Where(name => name.Length > 0).All(constants.Contains), $"{node.OpType} of constants is left in {test}");
        }

        string[] permitted = test.Format.ZeroPoint == ZeroPointKind.Float
            ? ["MatMulNBits", "Cast", "Identity", "MatMul", "Add", "Reshape", "Pad", "ReduceSum", "Shape", "Sub"]
            : ["MatMulNBits", "Cast", "Identity", "MatMul", "Add"];
        CollectionAssert.IsSubsetOf(graph.Node.Select(node => node.OpType).Distinct().ToArray(), permitted, $"{test}");
        Assert.AreEqual(1, graph.Node.Count(node => node.OpType == "MatMulNBits" && node.Domain == "com.microsoft"), $"{test}");
    }
}
