using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Dual;

/// <summary>Sizes of the stored tensors of one weight, as SPEC.md defines them; valid by construction.</summary>
internal sealed class DualGeometry
{
    /// <summary>Width of a code.</summary>
    public const int Bits = 4;

    /// <summary>Largest code.</summary>
    public const int MaxCode = 15;

    /// <summary>Outputs interleaved in a tile.</summary>
    public const int TileRows = 16;

    /// <summary>Consecutive k in a chunk.</summary>
    public const int ChunkSize = 32;

    /// <summary>Bytes of one chunk of one tile: 16 x 32 codes.</summary>
    public const int ChunkBytes = 256;

    /// <summary>Most inputs: sums of K products of a weight in -127 .. 127 and an activation in -254 .. 254 then fit 32 bits.</summary>
    public const int MaxK = 65536;

    private static readonly int[] GroupSizes = [32, 64, 128, 256];

    public DualGeometry(WeightShape shape, DualParameters parameters)
    {
        if (shape.N is < 1 or > int.MaxValue || shape.K is < 1 or > MaxK)
        {
            throw new OrtQuantException($"weight shape is {shape}; N must be 1 to {int.MaxValue} and K 1 to {MaxK}: sums over K are kept in 32 bits");
        }

        Validate(parameters);
        Shape = shape;
        Parameters = parameters;
        Tiles = (int)((shape.N + TileRows - 1) / TileRows);
        Chunks = (int)((shape.K + ChunkSize - 1) / ChunkSize);
        Groups = (int)((shape.K + GroupSize - 1) / GroupSize);
    }

    public WeightShape Shape { get; }

    public DualParameters Parameters { get; }

    public int Tiles { get; }

    public int Chunks { get; }

    public int GroupSize => Parameters.GroupSize;

    public int Groups { get; }

    /// <summary>Bytes of the packed weights of one tile.</summary>
    public long TileBytes => (long)Chunks * ChunkBytes;

    public int GroupLength(int g) => (int)Math.Min(GroupSize, Shape.K - ((long)g * GroupSize));

    public IReadOnlyList<TensorSpec> Tensors() =>
    [
        new("W", ElementType.UInt8, [Tiles, Chunks, ChunkBytes]),
        new("scales", ElementType.Float32, [Tiles, TileRows]),
        new("zero_points", ElementType.Int8, [Tiles, Groups, TileRows]),
        new("group_scales", ElementType.UInt8, [Tiles, Groups, TileRows]),
        new("row_sums", ElementType.Int32, [Tiles, TileRows]),
    ];

    public static void Validate(DualParameters parameters)
    {
        if (!GroupSizes.Contains(parameters.GroupSize))
        {
            throw new OrtQuantException($"group_size is {parameters.GroupSize}; it must be {string.Join(", ", GroupSizes[..^1])} or {GroupSizes[^1]}");
        }
    }
}
