using System.Runtime.InteropServices;
using OrtQuant.Descriptions;

namespace OrtQuant.Tests.Registration;

/// <summary>Native ops run without ONNX Runtime, with the same checks.</summary>
[TestClass]
public sealed class NativeOpTests
{
    private const int N = 16, K = 32;

    private static readonly OpAttributeValue[] Attributes =
    [
        OpAttributeValue.Int("K", K),
        OpAttributeValue.Int("N", N),
        OpAttributeValue.Int("bits", 8),
        OpAttributeValue.Int("block_size", -1),
        OpAttributeValue.String("layout", "n16"),
        OpAttributeValue.Int("format_version", 1),
    ];

    /// <summary>8-bit codes <c>128 + n</c> and scales of 1: every weight of row n is n.</summary>
    private static readonly TensorMemory[] Weights =
    [
        new(ElementType.UInt8, [1, 1, 64 * 8], Enumerable.Range(0, 64 * 8).Select(i => (byte)(128 + (i % 64 / 4))).ToArray()),
        new(ElementType.Float32, [1, 1, 16], Bytes(Enumerable.Repeat(1f, 16))),
    ];

    [TestMethod]
    public void UnpackGivesTheMatrix()
    {
        var weights = new float[N * K];

        NativeOp.Unpack("MatMulNBits", Attributes, [TensorMemory.Absent, .. Weights], weights);

        CollectionAssert.AreEqual(Enumerable.Range(0, N * K).Select(i => (float)(i / K)).ToArray(), weights);
    }

    [TestMethod]
    [DataRow(1)]
    [DataRow(3)]
    public void RunMultiplies(int threads)
    {
        var x = new TensorMemory(ElementType.Float32, [2, K], Bytes(Enumerable.Repeat(1f, K).Concat(Enumerable.Repeat(-2f, K))));
        var y = new TensorMemory(ElementType.Float32, [2, N], new byte[2 * N * 4]);

        NativeOp.Run("MatMulNBits", Attributes, [x, .. Weights], y, threads);

        var expected = Enumerable.Range(0, N).Select(n => (float)(n * K)).Concat(Enumerable.Range(0, N).Select(n => -2f * n * K));
        CollectionAssert.AreEqual(expected.ToArray(), MemoryMarshal.Cast<byte, float>(y.Data.Span).ToArray());
    }

    [TestMethod]
    public void GatherTakesRows()
    {
        var indices = new TensorMemory(ElementType.Int32, [2], MemoryMarshal.AsBytes(new[] { 5, -1 }.AsSpan()).ToArray());
        var y = new TensorMemory(ElementType.Float16, [2, K], new byte[2 * K * 2]);

        NativeOp.Run("GatherNBits", [.. Attributes, OpAttributeValue.Int("dtype", 10)], [indices, .. Weights], y);

        var expected = Enumerable.Repeat((Half)5, K).Concat(Enumerable.Repeat((Half)15, K));
        CollectionAssert.AreEqual(expected.ToArray(), MemoryMarshal.Cast<byte, Half>(y.Data.Span).ToArray());
    }

    [TestMethod]
    public void ErrorsNameTheActualAndThePermittedValue()
    {
        var x = new TensorMemory(ElementType.Float32, [2, K], new byte[2 * K * 4]);
        var y = new TensorMemory(ElementType.Float32, [2, N], new byte[2 * N * 4]);

        ShouldFail("unknown op 'Foo'; permitted: MatMulNBits", () => NativeOp.Run("Foo", Attributes, [x, .. Weights], y));
        ShouldFail("attribute 'K' is missing", () => NativeOp.Run("MatMulNBits", Attributes[1..], [x, .. Weights], y));
        ShouldFail("input 2 'scales' is missing", () => NativeOp.Run("MatMulNBits", Attributes, [x, Weights[0]], y));
        ShouldFail(
            "input 0 'X' has type float64; permitted: float32, float16",
            () => NativeOp.Run("MatMulNBits", Attributes, [x with { Type = ElementType.Float64 }, .. Weights], y));
        ShouldFail(
            "the output has shape [16, 2]; required: [2, 16]",
            () => NativeOp.Run("MatMulNBits", Attributes, [x, .. Weights], y with { Shape = [N, 2] }));
        ShouldFail(
            "output 'Y' has type float16; required: float32",
            () => NativeOp.Run("MatMulNBits", Attributes, [x, .. Weights], y with { Type = ElementType.Float16 }));
        ShouldFail("threads is 0; permitted: 1 to", () => NativeOp.Run("MatMulNBits", Attributes, [x, .. Weights], y, threads: 0));
        ShouldFail(
            "the output holds 3 floats; required: N * K = 512",
            () => NativeOp.Unpack("MatMulNBits", Attributes, [x, .. Weights], new float[3]));
    }

    private static void ShouldFail(string message, Action action) =>
        Assert.Contains(message, Assert.Throws<OrtQuantException>(action).Message);

    private static byte[] Bytes(IEnumerable<float> values) => MemoryMarshal.AsBytes(values.ToArray().AsSpan()).ToArray();
}
