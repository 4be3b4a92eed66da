using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Google.Protobuf;
using Onnx;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Calibration;

/// <summary>
/// Sums of <c>A^T B</c> over batches of rows, by ONNX Runtime's own matrix product: <c>Gemm(A, B, C, transA)</c>, C being the sum so far. One session
/// serves every size.
/// </summary>
internal sealed unsafe class GramSession : IDisposable
{
    private readonly InferenceSession _session;
    private readonly RunOptions _run = new();

    /// <summary>Opens the session.</summary>
    /// <param name="settings">Threads.</param>
    internal GramSession(SessionSettings settings)
    {
        var node = new NodeProto { OpType = "Gemm", Input = { "A", "B", "C" }, Output = { "Y" } };
        node.Attribute.Add(new AttributeProto { Name = "transA", Type = AttributeProto.Types.AttributeType.Int, I = 1 });
        var graph = new GraphProto { Name = "gram", Node = { node }, Input = { Matrix("A", "rows"), Matrix("B", "rows"), Matrix("C", "k") }, Output = { Matrix("Y", "k") } };
        var model = new ModelProto { IrVersion = 8, Graph = graph, OpsetImport = { new OperatorSetIdProto { Version = 13 } } };
        _session = SessionFactory.Open(model.ToByteArray(), "the sum of products", settings with { UseLibrary = false, Graph = null });
    }

    /// <summary>Computes <c>C + A^T B</c>.</summary>
    /// <param name="a">Rows <c>[count, K]</c>.</param>
    /// <param name="b">Rows <c>[count, K]</c>.</param>
    /// <param name="sum">C, <c>[K, K]</c>.</param>
    /// <param name="result">Receives the result; other memory than <paramref name="sum"/>.</param>
    internal void Run(ReadOnlySpan<float> a, ReadOnlySpan<float> b, ReadOnlySpan<float> sum, Span<float> result)
    {
        var k = (int)Math.Sqrt(sum.Length);
        fixed (float* pa = a, pb = b, pc = sum, py = result)
        {
            using var x = Wrap(pa, a.Length / k, k);
            using var y = Wrap(pb, b.Length / k, k);
            using var c = Wrap(pc, k, k);
            using var output = Wrap(py, k, k);
            _session.Run(_run, ["A", "B", "C"], [x, y, c], ["Y"], [output]);
        }
    }

    public void Dispose()
    {
        _run.Dispose();
        _session.Dispose();
    }

    private static OrtValue Wrap(float* values, long rows, long columns) =>
        OrtValue.CreateTensorValueWithData(OrtMemoryInfo.DefaultInstance, TensorElementType.Float, [rows, columns], (nint)values, rows * columns * sizeof(float));

    private static ValueInfoProto Matrix(string name, string rows)
    {
        var shape = new TensorShapeProto { Dim = { new TensorShapeProto.Types.Dimension { DimParam = rows }, new TensorShapeProto.Types.Dimension { DimParam = "k" } } };
        return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)Descriptions.ElementType.Float32, Shape = shape } } };
    }
}
