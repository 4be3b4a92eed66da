using System.Runtime.InteropServices;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;
using Onnx;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Tests.Fallback;

/// <summary>One random weight of scheme <c>group</c>, in a model of one op.</summary>
internal sealed record GroupCase(WeightShape Shape, GroupParameters Parameters)
{
    public int AccuracyLevel { get; init; } = 1;

    public ElementType Type { get; init; } = ElementType.Float32;

    public bool HasBias { get; init; }

    public int Rank { get; init; }

    public int Opset { get; init; } = 18;

    public int IrVersion { get; init; } = 8;

    public int Seed { get; init; } = 1;

    /// <summary>Stored tensors, in the order of <see cref="IWeightScheme.Tensors"/>.</summary>
    public IReadOnlyList<byte[]> Pack()
    {
        var scheme = GroupScheme.Instance;
        var random = new Random(Seed);
        using var grid = (IAffineGrid)scheme.CreateGrid(Shape, Parameters);
        for (var n = 0L; n < Shape.N; n++)
        {
            random.NextBytes(grid.Codes(n));
            foreach (ref var code in grid.Codes(n)) code &= (byte)grid.MaxCode;
            for (var g = 0; g < grid.GroupCount; g++)
            {
                var zeroPoint = Parameters.ZeroPoint switch
                {
                    ZeroPointKind.None => 1 << (Parameters.Bits - 1),
                    ZeroPointKind.Integer => random.Next(grid.MaxCode + 1),
                    _ => (float)(Half)(random.NextDouble() * grid.MaxCode),
                };
                grid.SetGroup(n, g, (float)(Half)((random.NextDouble() + 0.5) * (random.Next(2) == 0 ? 0.1 : -0.1)), zeroPoint);
            }
        }

        var tensors = scheme.Tensors(Shape, Parameters).Select(spec => new byte[spec.ByteLength]).ToArray();
        scheme.Encode(grid, [.. tensors.Select(tensor => tensor.AsMemory())]);
        return tensors;
    }

    /// <summary>The weight those bytes stand for, <c>[N, K]</c>.</summary>
    public float[] Decode(IReadOnlyList<byte[]> tensors)
    {
        var weights = new float[Shape.N * Shape.K];
        GroupScheme.Instance.Decode([.. tensors.Select(tensor => (ReadOnlyMemory<byte>)tensor)], Shape, Parameters, weights);
        return weights;
    }

    public float[] Bias => HasBias ? Random((int)Shape.N, Seed + 1) : [];

    public float[] LowRankA => Random((int)Shape.K * Rank, Seed + 2);

    public float[] LowRankB => Random((int)Shape.N * Rank, Seed + 3);

    /// <summary>X with values that the activation type holds.</summary>
    public float[] Activations(int rows) => Random((int)Shape.K * rows, Seed + 4);

    /// <summary>A model of one MatMulNBits node, with its function, read and saved as the rewriter does.</summary>
    public byte[] MatMulModel(IReadOnlyList<byte[]> tensors)
    {
        var node = new NodeProto { OpType = "MatMulNBits", Domain = "ortquant", Name = "product", Output = { "Y" } };
        node.Attribute.AddRange(GroupOp.MatMulAttributes(Shape, Parameters, AccuracyLevel).Select(Nodes.Attribute));
        var graph = new GraphProto { Name = "test", Node = { node } };
        string[] inputs = ["X", "W", "scales", tensors.Count > 2 ? "zero_points" : "", HasBias ? "bias" : "", Rank > 0 ? "low_rank_a" : "", Rank > 0 ? "low_rank_b" : ""];
        node.Input.AddRange(inputs.Take(Array.FindLastIndex(inputs, name => name.Length > 0) + 1));
        AddWeights(graph, tensors);
        if (HasBias) graph.Initializer.Add(Floats("bias", Bias, Shape.N));
        if (Rank > 0)
        {
            graph.Initializer.Add(Floats("low_rank_a", LowRankA, Shape.K, Rank));
            graph.Initializer.Add(Floats("low_rank_b", LowRankB, Rank, Shape.N));
        }

        graph.Input.Add(Value("X", Type, "batch", "rows", Shape.K));
        graph.Output.Add(Value("Y", Type, "batch", "rows", Shape.N));
        return Emit(graph);
    }

    /// <summary>A model of one GatherNBits node, with its function.</summary>
    public byte[] GatherModel(IReadOnlyList<byte[]> tensors, ElementType indices)
    {
        var node = new NodeProto { OpType = "GatherNBits", Domain = "ortquant", Name = "rows", Output = { "Y" } };
        node.Attribute.AddRange(GroupOp.GatherAttributes(Shape, Parameters, Type).Select(Nodes.Attribute));
        node.Input.AddRange(tensors.Count > 2 ? ["indices", "W", "scales", "zero_points"] : ["indices", "W", "scales"]);
        var graph = new GraphProto { Name = "test", Node = { node } };
        AddWeights(graph, tensors);
        graph.Input.Add(Value("indices", indices, "batch", "rows"));
        graph.Output.Add(Value("Y", Type, "batch", "rows", Shape.K));
        return Emit(graph);
    }

    /// <summary>Y = X . W^T + bias + (X . A) . B in double precision.</summary>
    public double[] Reference(float[] weights, float[] x)
    {
        var (n, k) = ((int)Shape.N, (int)Shape.K);
        var (bias, a, b) = (Bias, LowRankA, LowRankB);
        var rows = x.Length / k;
        var y = new double[rows * n];
        for (var m = 0; m < rows; m++)
        {
            var projected = new double[Rank];
            for (var r = 0; r < Rank; r++)
            {
                for (var i = 0; i < k; i++) projected[r] += (double)x[(m * k) + i] * a[(i * Rank) + r];
            }

            for (var o = 0; o < n; o++)
            {
                var sum = HasBias ? bias[o] : 0.0;
                for (var i = 0; i < k; i++) sum += (double)x[(m * k) + i] * weights[(o * k) + i];
                for (var r = 0; r < Rank; r++) sum += projected[r] * b[(r * n) + o];
                y[(m * n) + o] = sum;
            }
        }

        return y;
    }

    /// <summary>Runs a model with one input; X of float type is converted to what the model takes.</summary>
    public static float[] Run(InferenceSession session, Array input, params long[] shape)
    {
        var (name, metadata) = session.InputMetadata.Single();
        using var value = (input, metadata.ElementDataType) switch
        {
            (float[] x, Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Float16) => OrtValue.CreateTensorValueFromMemory(
                Array.ConvertAll(x, v => new Float16(BitConverter.HalfToUInt16Bits((Half)v))), shape),
            (float[] x, _) => OrtValue.CreateTensorValueFromMemory(x, shape),
            (int[] x, _) => OrtValue.CreateTensorValueFromMemory(x, shape),
            (long[] x, _) => OrtValue.CreateTensorValueFromMemory(x, shape),
            _ => throw new NotSupportedException(input.GetType().Name),
        };
        using var options = new RunOptions();
        using var outputs = session.Run(options, [name], [value], session.OutputNames);
        return outputs[0].GetTensorTypeAndShape().ElementDataType == Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Float16
            ? Array.ConvertAll(MemoryMarshal.Cast<Float16, Half>(outputs[0].GetTensorDataAsSpan<Float16>()).ToArray(), half => (float)half)
            : outputs[0].GetTensorDataAsSpan<float>().ToArray();
    }

    /// <summary>|a - b| / |b|, in the Euclidean norm.</summary>
    public static double RelativeError(float[] actual, double[] expected)
    {
        Assert.HasCount(expected.Length, actual);
        var (difference, norm) = (0.0, 0.0);
        for (var i = 0; i < actual.Length; i++)
        {
            difference += (actual[i] - expected[i]) * (actual[i] - expected[i]);
            norm += expected[i] * expected[i];
        }

        return Math.Sqrt(difference / Math.Max(norm, double.Epsilon));
    }

    private byte[] Emit(GraphProto graph)
    {
        var proto = new ModelProto { IrVersion = IrVersion, Graph = graph, OpsetImport = { new OperatorSetIdProto { Domain = "", Version = Opset } } };
        using var model = OnnxModel.FromProto(proto);
        Assert.IsEmpty(FunctionEmitter.Attach(model, [GroupOp.MatMul, GroupOp.Gather]));
        return model.Proto.ToByteArray();
    }

    private void AddWeights(GraphProto graph, IReadOnlyList<byte[]> tensors)
    {
        foreach (var (spec, data) in GroupScheme.Instance.Tensors(Shape, Parameters).Zip(tensors))
        {
            var tensor = new TensorProto { Name = spec.Input, DataType = (int)spec.Type, RawData = ByteString.CopyFrom(data) };
            tensor.Dims.AddRange(spec.Shape);
            graph.Initializer.Add(tensor);
        }
    }

    private TensorProto Floats(string name, float[] values, params long[] shape)
    {
        var bytes = Type == ElementType.Float16
            ? MemoryMarshal.AsBytes<Half>(Array.ConvertAll(values, v => (Half)v)).ToArray()
            : MemoryMarshal.AsBytes<float>(values).ToArray();
        var tensor = new TensorProto { Name = name, DataType = (int)Type, RawData = ByteString.CopyFrom(bytes) };
        tensor.Dims.AddRange(shape);
        return tensor;
    }

    private static ValueInfoProto Value(string name, ElementType type, params object[] shape)
    {
        var tensor = new TypeProto.Types.Tensor { ElemType = (int)type, Shape = new TensorShapeProto() };
        tensor.Shape.Dim.AddRange(shape.Select(size => size is string symbol
            ? new TensorShapeProto.Types.Dimension { DimParam = symbol }
            : new TensorShapeProto.Types.Dimension { DimValue = (long)size }));
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
