using System.Numerics;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Adoption;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;

namespace OrtQuant.GraphRewriter.Matching.Patterns;

/// <summary>
/// Ops whose weight is in codes with group scales: <c>com.microsoft::MatMulNBits</c> and <c>GatherBlockQuantized</c>, and this project's own.
/// They are adopted: the codes stay, their bytes are put in another order.
/// </summary>
internal sealed class QuantizedWeights : INodeMatcher
{
    private const int Codes = 1, Scales = 2, ZeroPoints = 3, GroupIndex = 4, MicrosoftBias = 5, OwnBias = 4, OwnLowRank = 5;

    internal static bool Knows(OnnxNode node) =>
        (node.Domain, node.OpType) is ("com.microsoft", "MatMulNBits" or "GatherBlockQuantized") or ("ortquant", "MatMulNBits" or "GatherNBits");

    public NodeMatch Match(OnnxNode node) => (node.Domain, node.OpType) switch
    {
        ("com.microsoft", "MatMulNBits") => MicrosoftProduct(node),
        ("com.microsoft", _) => MicrosoftTable(node),
        (_, "MatMulNBits") => Own(node, isTable: false),
        _ => Own(node, isTable: true),
    };

    private static NodeMatch MicrosoftProduct(OnnxNode node)
    {
        var (n, k, bits, block) = (node.GetInt("N", 0), node.GetInt("K", 0), node.GetInt("bits", 4), node.GetInt("block_size", 0));
        if (Input(node, GroupIndex) is not null) return Mismatch.LeftAlone("it has a group index (g_idx); groups must be consecutive k");
        if (node.GetInt("weight_prepacked", 0) is not 0 and var packing) return Mismatch.LeftAlone($"weight_prepacked is {packing}; it must be 0");
        if (Unfit(n, k, bits, block) is { } reason) return Mismatch.LeftAlone(reason);
        var groups = (k + block - 1) / block;
        if (Find(node, Codes, n * groups * block * bits / 8, out var mismatch) is not { } codes) return mismatch!;
        if (Stored(node, codes, Scales, ZeroPoints, new WeightShape(n, k), (int)bits, (int)block, out mismatch) is not { } stored) return mismatch!;
        var linear = new LinearUse(node, Matrix(stored, Type(node, Scales)), node.Inputs[0]!, node.Outputs[0]!);
        if (Input(node, MicrosoftBias) is not { } bias) return BiasAdd.Fuse(linear);
        return ConstantView.Trace(bias, out mismatch) is { } view ? linear with { Bias = new LinearBias(view, 1) } : Mismatch.LeftAlone("its bias is no constant");
    }

    private static NodeMatch MicrosoftTable(OnnxNode node)
    {
        var block = node.GetInt("block_size", 128);
        var bits = node.GetInt("bits", 4);
        if (node.GetInt("gather_axis", 0) != 0) return Mismatch.LeftAlone($"gather_axis is {node.GetInt("gather_axis", 0)}; it must be 0");
        if (Plain(node.Inputs[0], out var mismatch) is not { } data) return mismatch!;
        if (data.Shape.Count != 2) return Mismatch.LeftAlone($"its data has {data.Shape.Count} dimensions; it must have 2");
        var isBytes = data.Tensor.Type == ElementType.UInt8;
        if (!isBytes && data.Tensor.Type is not (ElementType.UInt4 or ElementType.Int4)) return Mismatch.LeftAlone($"its data is {data.Tensor.Type}; it must be uint8, uint4 or int4");
        if (!isBytes) bits = 4;
        var shape = new WeightShape(data.Shape[0], isBytes ? data.Shape[1] * 8 / bits : data.Shape[1]);
        if (node.GetInt("quantize_axis", 1) is not (1 or -1)) return Mismatch.LeftAlone($"quantize_axis is {node.GetInt("quantize_axis", 1)}; it must be the last");
        if (Unfit(shape.N, shape.K, bits, block) is { } reason) return Mismatch.LeftAlone(reason);
        if (shape.K % block != 0) return Mismatch.LeftAlone($"rows of {shape.K} are no whole number of blocks of {block}");
        if (Stored(node, data.Root, 2, 3, shape, (int)bits, (int)block, out mismatch) is not { } stored) return mismatch!;
        if (data.Tensor.Type == ElementType.UInt4 && stored.ZeroPoints is null) return Mismatch.LeftAlone("its data is uint4 and it has no zero points");
        stored = stored with { IsSigned = data.Tensor.Type == ElementType.Int4 };
        return new TableUse(node, Matrix(stored, Type(node, 2)), node.Inputs[1]!);
    }

    private static NodeMatch Own(OnnxNode node, bool isTable)
    {
        var shape = new WeightShape(node.GetInt("N", 0), node.GetInt("K", 0));
        var values = node.Inputs.Skip(Codes).Take(3).ToArray();
        if (values.Length < 2 || values.Any(value => value is not null && value.Constant is null)) return Mismatch.LeftAlone("its weight is no constant");
        if (Input(node, OwnLowRank) is not null) return Mismatch.LeftAlone("it has low-rank factors, which stay where they are");
        var stored = new StoredCodes(
            values[0]!, values[1]!, values.ElementAtOrDefault(2), shape, (int)node.GetInt("bits", 4), (int)node.GetInt("block_size", 32), CodeLayout.N16);
        if (isTable) return new TableUse(node, Matrix(stored, (ElementType)node.GetInt("dtype", 1)), node.Inputs[0]!);
        var type = node.Outputs[0]!.Type ?? node.Inputs[0]!.Type ?? ElementType.Float32;
        var linear = new LinearUse(node, Matrix(stored, type), node.Inputs[0]!, node.Outputs[0]!);
        return Input(node, OwnBias) is { } bias && ConstantView.Trace(bias, out _) is { } view ? linear with { Bias = new LinearBias(view, 1) } : linear;
    }

    private static StoredCodes? Stored(
        OnnxNode node, OnnxValue codes, int scalesAt, int zeroPointsAt, WeightShape shape, int bits, int block, out Mismatch? mismatch)
    {
        var groups = (shape.K + block - 1) / block;
        if (Plain(node.Inputs[scalesAt], out mismatch) is not { } scales) return null;
        if (scales.Tensor.Count != shape.N * groups)
        {
            mismatch = Mismatch.LeftAlone($"it has {scales.Tensor.Count} scales; {shape.N} x {groups} are required");
            return null;
        }

        OnnxValue? zeroPoints = null;
        if (Input(node, zeroPointsAt) is { } given)
        {
            if (Plain(given, out mismatch) is not { } view) return null;
            var required = view.Tensor.Type.IsFloat() ? shape.N * groups : shape.N * (((groups * bits) + 7) / 8);
            var count = view.Tensor.Type.IsFloat() ? view.Tensor.Count : view.Tensor.ByteLength;
            if (count != required)
            {
                mismatch = Mismatch.LeftAlone($"it has {count} {(view.Tensor.Type.IsFloat() ? "zero points" : "bytes of zero points")}; {required} are required");
                return null;
            }

            zeroPoints = view.Root;
        }

        return new StoredCodes(codes, scales.Root, zeroPoints, shape, bits, block, CodeLayout.Rows);
    }

    private static OnnxValue? Find(OnnxNode node, int index, long bytes, out Mismatch? mismatch)
    {
        if (Plain(node.Inputs[index], out mismatch) is not { } view) return null;
        if (view.Tensor.ByteLength == bytes) return view.Root;
        mismatch = Mismatch.LeftAlone($"its weight has {view.Tensor.ByteLength} bytes; {bytes} are required");
        return null;
    }

    /// <summary>A constant whose elements are read in the order in which they are stored.</summary>
    internal static ConstantView? Plain(OnnxValue? value, out Mismatch? mismatch)
    {
        mismatch = Mismatch.LeftAlone("an input is missing");
        if (value is null || ConstantView.Trace(value, out mismatch) is not { } view)
        {
            mismatch = Mismatch.LeftAlone(mismatch!.Reason);
            return null;
        }

        if (view.Chain.All(node => node.OpType != "Transpose")) return view;
        mismatch = Mismatch.LeftAlone($"'{view.Root.Name}' is behind a Transpose");
        return null;
    }

    internal static WeightMatrix Matrix(StoredCodes stored, ElementType type) =>
        new(stored.Codes, stored.Shape, StoredTransposed: false, Scale: 1, type) { Quantized = stored };

    /// <summary>Why a grid of this project cannot hold such groups, or null.</summary>
    internal static string? Unfit(long n, long k, long bits, long block)
    {
        if (bits is not (2 or 4 or 8)) return $"its codes have {bits} bits; permitted: 2, 4, 8";
        if (block != GroupParameters.WholeRow && (block < 16 || !BitOperations.IsPow2(block))) return $"block_size is {block}; it must be a power of two, at least 16";
        return n < 1 || k < 1 ? $"its weight is {n} x {k}" : null;
    }

    private static OnnxValue? Input(OnnxNode node, int index) => node.Inputs.ElementAtOrDefault(index);

    private static ElementType Type(OnnxNode node, int scales) => ConstantView.Trace(node.Inputs[scales]!, out _)!.Type;
}
