using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Adoption;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;

namespace OrtQuant.GraphRewriter.Matching.Patterns;

/// <summary>A MatMul's or Gemm's <c>DequantizeLinear(W, scales, zero_points)</c> with a constant W of small integers: a weight of a QDQ model.</summary>
internal static class DequantizedWeight
{
    /// <summary>The weight, or why there is none; null when the value does not come from a DequantizeLinear of a constant.</summary>
    /// <param name="value">What the node multiplies by.</param>
    /// <param name="transB">The node reads it as <c>[N, K]</c>.</param>
    internal static (WeightMatrix? Weight, Mismatch? Mismatch)? Find(OnnxValue? value, bool transB)
    {
        if (value is not { } w) return null;
        var isTransposed = transB;
        if (w.Producer is { OpType: "Transpose", Domain.Length: 0 } transpose)
        {
            isTransposed = !transB;
            w = transpose.Inputs[0]!;
        }

        if (w.Producer is not { OpType: "DequantizeLinear" } dequantize || dequantize.Inputs is not [{ } data, { } scale, ..]) return null;
        if (!ConstantView.IsConstant(data)) return null;
        if (QuantizedWeights.Plain(data, out var mismatch) is not { Shape.Count: 2 } view) return (null, mismatch ?? Mismatch.LeftAlone("its quantized weight is no matrix"));
        if (Bits(view.Tensor.Type) is not { } bits) return (null, Mismatch.LeftAlone($"its quantized weight is {view.Tensor.Type}; permitted: int2, int4, int8 and the unsigned ones"));
        if (QuantizedWeights.Plain(scale, out mismatch) is not { } scales) return (null, mismatch);

        // Axis 0 of W is k as MatMul reads it, unless a Transpose stands between or the node transposes.
        var kAxis = isTransposed ? 1 : 0;
        var shape = new WeightShape(view.Shape[1 - kAxis], view.Shape[kAxis]);
        var axis = dequantize.GetInt("axis", 1);
        if (axis < 0) axis += 2;
        var block = dequantize.GetInt("block_size", 0);
        var isPerTensor = scales.Tensor.Count == 1 && block == 0;
        if (block == 0 && !isPerTensor && axis == kAxis) return (null, Mismatch.LeftAlone("its scales go along k, one for each input; groups must have at least 16"));
        if (block > 0 && axis != kAxis) return (null, Mismatch.LeftAlone("its blocks go along the outputs; groups must be consecutive k"));
        var groupSize = block == 0 ? GroupParameters.WholeRow : (int)block;
        if (QuantizedWeights.Unfit(shape.N, shape.K, bits, groupSize) is { } reason) return (null, Mismatch.LeftAlone(reason));
        var groups = block == 0 ? 1 : (shape.K + block - 1) / block;
        if (!isPerTensor && scales.Tensor.Count != shape.N * groups) return (null, Mismatch.LeftAlone($"it has {scales.Tensor.Count} scales; {shape.N} x {groups} are required"));

        OnnxValue? zeroPoints = null;
        if (dequantize.Inputs.ElementAtOrDefault(2) is { } given)
        {
            if (QuantizedWeights.Plain(given, out mismatch) is not { } zero) return (null, mismatch);
            if (zero.Tensor.Type != view.Tensor.Type || zero.Tensor.Count != scales.Tensor.Count) return (null, Mismatch.LeftAlone("its zero points do not fit its scales"));
            zeroPoints = zero.Root;
        }

        var isSigned = view.Tensor.Type is ElementType.Int2 or ElementType.Int4 or ElementType.Int8;
        var stored = new StoredCodes(view.Root, scales.Root, zeroPoints, shape, bits, groupSize, isTransposed ? CodeLayout.RowMajor : CodeLayout.ColumnMajor)
        {
            IsSigned = isSigned,
            ZeroIsZero = !isSigned,
            IsPerTensor = isPerTensor,
        };
        return (QuantizedWeights.Matrix(stored, scales.Type), null);
    }

    private static int? Bits(ElementType type) => type switch
    {
        ElementType.Int2 or ElementType.UInt2 => 2,
        ElementType.Int4 or ElementType.UInt4 => 4,
        ElementType.Int8 or ElementType.UInt8 => 8,
        _ => null,
    };
}
