using System.Globalization;
using System.Numerics;
using OrtQuant.Descriptions;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes.Smooth;

/// <summary>The op that rotates activations. <c>SPEC.md</c>, "HadamardTransform", says the same in a table.</summary>
public static class HadamardOp
{
    private const int CastLikeOpset = 15;

    // Largest power of two that one constant of the body stands for.
    private const int LargestStep = 64;

    private static readonly ElementType[] Activations = [ElementType.Float32, ElementType.Float16];

    /// <summary><c>ortquant::HadamardTransform</c>: activations times an orthogonal matrix of equal magnitudes.</summary>
    public static OpDescription Transform { get; } = new(
        Domain: "ortquant",
        Name: "HadamardTransform",
        SinceVersion: 1,
        Summary: "Y = X . H^T / sqrt(K), H the Hadamard matrix of order K = m * 2^k",
        Inputs: [new("X", TensorRole.Activation, Activations, "[..., K]")],
        Outputs: [new("Y", Activations, "[..., K]")],
        Attributes:
        [
            new("K", AttributeKind.Int, "The last dimension of X: a power of two, or one times 12, 20, 28, 36, 44, 60, 68, 76, 108, 140, 148 or 172."),
            new("format_version", AttributeKind.Int, "Version of the matrices: 1."),
        ],
        Fallback: Body,
        MinimumFallbackOpset: GroupFallback.MinimumOpset);

    /// <summary>The attributes of a node.</summary>
    /// <param name="k">Order of the matrix.</param>
    /// <exception cref="OrtQuantException">There is no matrix of that order.</exception>
    public static IReadOnlyList<OpAttributeValue> Attributes(long k) => Hadamard.Obstacle(k) is { } obstacle
        ? throw new OrtQuantException(obstacle)
        : [OpAttributeValue.Int("K", k), OpAttributeValue.Int("format_version", SmoothScheme.FormatVersion)];

    // X as [-1, m, 64, 64, ...], one MatMul for each of these axes.
    private static FunctionBody? Body(FallbackCall call)
    {
        var type = call.Input(0) ?? ElementType.Undefined;
        if (call.Opset < GroupFallback.MinimumOpset || (type is not (ElementType.Float32 or ElementType.Float16) && call.Opset < CastLikeOpset)) return null;

        var k = call.Int("K");
        var body = new FunctionBodyBuilder();
        var isFloat = type == ElementType.Float32;
        var y = isFloat ? "X" : body.Cast("X", ElementType.Float32);
        var rest = k;

        // A row more, because ONNX Runtime's MatMul takes no batch of nothing.
        y = body.Node("Pad", [body.Reshape(y, body.Ints(-1, k)), body.Ints(0, 0, 1, 0)]);
        foreach (var (order, matrix) in Axes(k))
        {
            rest /= order;
            var ones = body.Reshape(body.Ints([.. matrix.Select(sign => sign > 0 ? 1L : 0L)]), body.Ints(order, order));
            var signs = body.Cast(body.Node("Sub", [body.Node("Mul", [ones, body.Int(2)]), body.Int(1)]), ElementType.Float32);
            y = body.Node("MatMul", [signs, body.Reshape(y, body.Ints(-1, order, rest))]);
        }

        y = body.Node("Mul", [y, body.Float((float)(1 / Math.Sqrt(k)))]);
        y = body.Node("Pad", [body.Reshape(y, body.Ints(-1, k)), body.Ints(0, 0, -1, 0)]);
        y = body.Node("Reshape", [y, body.Node("Shape", ["X"])], [new ValueAttribute(OpAttributeValue.Int("allowzero", 1))]);
        if (isFloat) body.Node("Identity", [y], output: "Y");
        else if (call.Opset >= CastLikeOpset) body.Node("CastLike", [y, "X"], output: "Y");
        else body.Node("Cast", [y], [new ValueAttribute(OpAttributeValue.Int("to", (long)type))], output: "Y");
        var variant = string.Create(CultureInfo.InvariantCulture, $"order{k}{(isFloat ? "" : call.Opset >= CastLikeOpset ? "_cast" : "_float16")}");
        return body.Build(variant, ["X"], "Y") with { RoundsActivations = false };
    }

    private static IEnumerable<(int Order, sbyte[] Matrix)> Axes(long k)
    {
        var factor = Hadamard.FactorOf(k) ?? throw new OrtQuantException(Hadamard.Obstacle(k)!);
        if (factor > 1 || k == 1) yield return (factor, Hadamard.Matrix(factor));
        for (var power = (int)(k / factor); power > 1; power /= Math.Min(power, LargestStep)) yield return Sylvester(Math.Min(power, LargestStep));
    }

    private static (int Order, sbyte[] Matrix) Sylvester(int order)
    {
        var matrix = new sbyte[order * order];
        for (var i = 0; i < matrix.Length; i++) matrix[i] = (sbyte)(BitOperations.PopCount((uint)(i / order & i % order)) % 2 == 0 ? 1 : -1);
        return (order, matrix);
    }
}
