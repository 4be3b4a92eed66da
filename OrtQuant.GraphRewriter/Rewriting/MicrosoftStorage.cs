using System.Buffers.Binary;
using OrtQuant.Descriptions;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;

namespace OrtQuant.GraphRewriter.Rewriting;

/// <summary>
/// The layout of <c>com.microsoft::MatMulNBits</c> and <c>GatherBlockQuantized</c>: rows of whole blocks, codes lowest bits first, scales and float zero
/// points in the type of the activations, integer zero points packed along a row. Models in it need no library.
/// </summary>
internal sealed class MicrosoftStorage : WeightStorage
{
    private const int LargestBlock = 256;

    private static readonly ElementType[] Floats = [ElementType.Float32, ElementType.Float16];

    private static readonly OpInput[] WeightInputs =
    [
        new("W", TensorRole.PackedWeight, [ElementType.UInt8], "[N, blocks, block_size * bits / 8]"),
        new("scales", TensorRole.Scale, Floats, "[N, blocks]"),
        new("zero_points", TensorRole.ZeroPoint, [ElementType.UInt8, .. Floats], "[N, ceil(blocks * bits / 8)] or [N, blocks]", Optional: true),
    ];

    private static readonly OpDescription Product = Describe(
        "MatMulNBits",
        [
            new("X", TensorRole.Activation, Floats, "[..., K]"),
            .. WeightInputs,
            new("g_idx", TensorRole.Indices, [ElementType.Int32], "[K]", Optional: true),
            new("bias", TensorRole.Bias, Floats, "[N]", Optional: true),
        ]);

    private static readonly OpDescription Rows = Describe(
        "GatherBlockQuantized",
        [WeightInputs[0], new("indices", TensorRole.Indices, [ElementType.Int32, ElementType.Int64], "[...]"), .. WeightInputs[1..]]);

    private readonly WeightShape _shape;
    private readonly GroupParameters _parameters;
    private readonly int _accuracyLevel;
    private readonly ElementType _type;

    /// <summary>Storage of a weight that <see cref="Obstacle"/> has nothing against.</summary>
    internal MicrosoftStorage(WeightShape shape, GroupParameters parameters, int accuracyLevel, ElementType type) =>
        (_shape, _parameters, _accuracyLevel, _type) = (shape, parameters, accuracyLevel, type);

    /// <inheritdoc/>
    internal override OpDescription Op => Product;

    /// <inheritdoc/>
    internal override OpDescription? GatherOp => Rows;

    /// <inheritdoc/>
    internal override IReadOnlyList<TensorSpec> Tensors
    {
        get
        {
            var tensors = new List<TensorSpec>
            {
                new("W", ElementType.UInt8, [_shape.N, Blocks, BlockBytes]),
                new("scales", _type, [_shape.N, Blocks]),
            };
            if (_parameters.ZeroPoint == ZeroPointKind.Integer) tensors.Add(new("zero_points", ElementType.UInt8, [_shape.N, ZeroPointBytes]));
            if (_parameters.ZeroPoint == ZeroPointKind.Float) tensors.Add(new("zero_points", _type, [_shape.N, Blocks]));
            return tensors;
        }
    }

    /// <inheritdoc/>
    internal override IReadOnlyList<OpAttributeValue> Attributes =>
    [
        OpAttributeValue.Int("K", _shape.K), OpAttributeValue.Int("N", _shape.N), OpAttributeValue.Int("bits", _parameters.Bits),
        OpAttributeValue.Int("block_size", Block), OpAttributeValue.Int("accuracy_level", _accuracyLevel),
    ];

    /// <inheritdoc/>
    internal override IReadOnlyList<OpAttributeValue> GatherAttributes =>
    [
        OpAttributeValue.Int("bits", _parameters.Bits), OpAttributeValue.Int("block_size", Block),
        OpAttributeValue.Int("gather_axis", 0), OpAttributeValue.Int("quantize_axis", 1),
    ];

    /// <inheritdoc/>
    internal override IReadOnlyList<long>? GatherShape => [_shape.N, Blocks * BlockBytes];

    private long Block => BlockOf(_shape, _parameters);

    private long Blocks => (_shape.K + Block - 1) / Block;

    private long BlockBytes => Block * _parameters.Bits / 8;

    private long ZeroPointBytes => ((Blocks * _parameters.Bits) + 7) / 8;

    /// <summary>Why those ops cannot express a weight, or null.</summary>
    /// <param name="shape">Shape of the weight.</param>
    /// <param name="parameters">How it is quantized.</param>
    /// <param name="isTable">Rows of it are gathered, too.</param>
    internal static string? Obstacle(WeightShape shape, SchemeParameters parameters, bool isTable)
    {
        if (parameters is not GroupParameters group) return "com.microsoft::MatMulNBits takes scheme group only";
        if (group.Bits == 3) return "com.microsoft::MatMulNBits has no codes of 3 bits; permitted: 2, 4, 8";
        if (BlockOf(shape, group) is 0) return $"com.microsoft::MatMulNBits takes blocks of 16 to {LargestBlock}; the groups are {(group.GroupSize < 0 ? "whole rows" : group.GroupSize)}";
        if (group.ZeroPoint == ZeroPointKind.Float && group.Bits != 4) return $"com.microsoft::MatMulNBits takes float zero points with codes of 4 bits only; these have {group.Bits}";
        if (isTable && group.ZeroPoint == ZeroPointKind.Float) return "com.microsoft::GatherBlockQuantized takes no float zero points";
        return isTable && shape.K % BlockOf(shape, group) != 0
            ? $"com.microsoft::GatherBlockQuantized takes rows of whole blocks; {shape.K} is no multiple of {BlockOf(shape, group)}"
            : null;
    }

    /// <inheritdoc/>
    internal override void Encode(IWeightGrid grid, IReadOnlyList<Memory<byte>> destinations, int threads)
    {
        var affine = (IAffineGrid)grid;
        foreach (var destination in destinations) destination.Span.Clear();
        Parallel.For(0L, _shape.N, new ParallelOptions { MaxDegreeOfParallelism = Math.Max(1, threads) }, n => EncodeRow(affine, n, destinations));
    }

    private void EncodeRow(IAffineGrid grid, long n, IReadOnlyList<Memory<byte>> destinations)
    {
        var rowBytes = (int)(Blocks * BlockBytes);
        var row = destinations[0].Span.Slice(checked((int)(n * rowBytes)), rowBytes);
        var codes = grid.Codes(n)[..(int)_shape.K];
        for (var k = 0; k < codes.Length; k++)
        {
            var bit = k * _parameters.Bits;
            row[bit >> 3] |= (byte)(codes[k] << (bit & 7));
        }

        for (var g = 0; g < (int)Blocks; g++)
        {
            var (scale, zeroPoint) = grid.GetGroup(n, g);
            WriteFloat(destinations[1].Span, (n * Blocks) + g, scale);
            if (_parameters.ZeroPoint == ZeroPointKind.Float)
            {
                WriteFloat(destinations[2].Span, (n * Blocks) + g, zeroPoint);
            }
            else if (_parameters.ZeroPoint == ZeroPointKind.Integer)
            {
                var bit = g * _parameters.Bits;
                destinations[2].Span[(int)(n * ZeroPointBytes) + (bit >> 3)] |= (byte)((int)zeroPoint << (bit & 7));
            }
        }
    }

    private void WriteFloat(Span<byte> destination, long index, float value)
    {
        if (_type == ElementType.Float16) BinaryPrimitives.WriteHalfLittleEndian(destination[(int)(2 * index)..], (Half)value);
        else BinaryPrimitives.WriteSingleLittleEndian(destination[(int)(4 * index)..], value);
    }

    // A whole row is one block where that op has one as long; 0 where nothing fits.
    private static long BlockOf(WeightShape shape, GroupParameters parameters)
    {
        if (parameters.GroupSize != GroupParameters.WholeRow) return parameters.GroupSize <= LargestBlock ? parameters.GroupSize : 0;
        for (var block = 16; block <= LargestBlock; block *= 2)
        {
            if (block >= shape.K) return block;
        }

        return 0;
    }

    private static OpDescription Describe(string name, IReadOnlyList<OpInput> inputs) =>
        new("com.microsoft", name, 1, "", inputs, [new("Y", Floats, "")], [], static _ => null, int.MaxValue);
}
