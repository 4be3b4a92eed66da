using System.Runtime.InteropServices;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;
using Onnx;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.Schemes;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Fallback;

/// <summary>One weight of a scheme, in a model of one op with random activations, bias and low-rank factors.</summary>
internal record MatMulCase(IWeightScheme Scheme, WeightShape Shape, SchemeParameters Parameters)
{
    public int AccuracyLevel { get; init; } = 1;

    /// <summary>Of X, Y, bias and the low-rank factors.</summary>
    public ElementType Type { get; init; } = ElementType.Float32;

    public bool HasBias { get; init; }

    public int Rank { get; init; }

    /// <summary>Inputs that the scheme has besides its weights, by name.</summary>
    public IReadOnlyList<TensorProto> OtherInputs { get; init; } = [];

    public int Opset { get; init; } = 18;

    public int IrVersion { get; init; } = 8;

    public int Seed { get; init; } = 1;

    /// <summary>The weight those bytes stand for, <c>[N, K]</c>.</summary>
    public float[] Decode(IReadOnlyList<byte[]> tensors)
    {
        var weights = new float[Shape.Count];
        Scheme.Decode([.. tensors.Select(tensor => (ReadOnlyMemory<byte>)tensor)], Shape, Parameters, weights);
        return weights;
    }

    /// <summary>X with values that the activation type holds.</summary>
    public float[] Activations(int rows) => Random((int)Shape.K * rows, Seed + 4);

    /// <summary>A model of one node of the scheme's matmul, with its function, read and saved as the rewriter does.</summary>
    public byte[] MatMulModel(IReadOnlyList<byte[]> tensors)
    {
        var node = new NodeProto { OpType = Scheme.Op.Name, Domain = "ortquant", Name = "product", Output = { "Y" } };
        node.Attribute.AddRange(Scheme.Attributes(Shape, Parameters, AccuracyLevel).Select(Nodes.Attribute));
        var graph = new GraphProto { Name = "test", Node = { node } };
        AddWeights(graph, tensors);
        graph.Initializer.Add(OtherInputs);
        if (HasBias) graph.Initializer.Add(ModelBuilder.Tensor("bias", Type, [Shape.N], Bias));
        if (Rank > 0)
        {
            graph.Initializer.Add(ModelBuilder.Tensor("low_rank_a", Type, [Shape.K, Rank], LowRankA));
            graph.Initializer.Add(ModelBuilder.Tensor("low_rank_b", Type, [Rank, Shape.N], LowRankB));
        }

        var given = graph.Initializer.Select(tensor => tensor.Name).Append("X").ToHashSet();
        var inputs = Scheme.Op.Inputs.Select(input => given.Contains(input.Name) ? input.Name : "").ToList();
        node.Input.AddRange(inputs.Take(inputs.FindLastIndex(name => name.Length > 0) + 1));
        graph.Input.Add(ModelBuilder.Value("X", Type, "batch", "rows", Shape.K));
        graph.Output.Add(ModelBuilder.Value("Y", Type, "batch", "rows", Shape.N));
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

    /// <summary>The graph as a model, with the functions of the scheme's ops.</summary>
    protected byte[] Emit(GraphProto graph)
    {
        var proto = new ModelProto { IrVersion = IrVersion, Graph = graph, OpsetImport = { new OperatorSetIdProto { Domain = "", Version = Opset } } };
        using var model = OnnxModel.FromProto(proto);
        Assert.IsEmpty(FunctionEmitter.Attach(model, Scheme.Ops));
        return model.Proto.ToByteArray();
    }

    protected void AddWeights(GraphProto graph, IReadOnlyList<byte[]> tensors)
    {
        foreach (var (spec, data) in Scheme.Tensors(Shape, Parameters).Zip(tensors))
        {
            graph.Initializer.Add(new TensorProto { Name = spec.Input, DataType = (int)spec.Type, Dims = { spec.Shape }, RawData = ByteString.CopyFrom(data) });
        }
    }

    private float[] Bias => HasBias ? Random((int)Shape.N, Seed + 1) : [];

    private float[] LowRankA => Random((int)Shape.K * Rank, Seed + 2);

    private float[] LowRankB => Random((int)Shape.N * Rank, Seed + 3);

    private static float[] Random(int count, int seed)
    {
        var random = new Random(seed);
        var values = new float[count];
        for (var i = 0; i < count; i++) values[i] = (float)(Half)((random.NextDouble() * 4) - 2);
        return values;
    }
}
