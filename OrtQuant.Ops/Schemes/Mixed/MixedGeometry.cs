using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Mixed;

/// <summary>Sizes of the stored tensors of one weight, as SPEC.md defines them; valid by construction.</summary>
internal sealed class MixedGeometry
{
    /// <summary>Outputs interleaved in a tile.</summary>
    public const int TileRows = 16;

    /// <summary>Consecutive k of 16 outputs in a vector of 64 bytes.</summary>
    public const int VectorDepth = 16;

    /// <summary>Bytes of a vector.</summary>
    public const int VectorBytes = 64;

    /// <summary>Most inputs that share a scale: positions of outliers take a byte.</summary>
    public const int MostBlock = 256;

    /// <summary>Most K, as in other schemes with packed sums.</summary>
    public const long MostK = 1 << 20;

    public MixedGeometry(WeightShape shape, MixedParameters parameters)
    {
        if (shape.N is < 1 or > int.MaxValue || shape.K is < 1 or > MostK)
        {
            throw new OrtQuantException($"weight shape is {shape}; N must be 1 to {int.MaxValue} and K 1 to {MostK}");
        }

        Validate(parameters);
        (Shape, Parameters) = (shape, parameters);
        Tiles = (int)((shape.N + TileRows - 1) / TileRows);
        Vectors = (int)((shape.K + VectorDepth - 1) / VectorDepth);
        Groups = (int)((shape.K + GroupSize - 1) / GroupSize);
        var most = (int)((shape.K + MostBlock - 1) / MostBlock);
        GroupsPerBlock = (Groups + most - 1) / most;
        Blocks = (Groups + GroupsPerBlock - 1) / GroupsPerBlock;
        Refined = RefinedWithin(parameters.Bits);
    }

    public WeightShape Shape { get; }

    public MixedParameters Parameters { get; }

    public int Tiles { get; }

    /// <summary>Vectors of 16 k of a tile, without those of refined groups.</summary>
    public int Vectors { get; }

    public int GroupSize => Parameters.GroupSize;

    public int Groups { get; }

    public int GroupsPerBlock { get; }

    /// <summary>Blocks of a row: stretches that share a scale and have outliers of their own.</summary>
    public int Blocks { get; }

    /// <summary>Inputs of a block, but for the last one.</summary>
    public int BlockSize => GroupsPerBlock * GroupSize;

    /// <summary>Groups of each tile that have 4 bits.</summary>
    public int Refined { get; }

    public int Outliers => Parameters.Outliers;

    public int GroupVectors => GroupSize / VectorDepth;

    /// <summary>Vectors of a tile in all.</summary>
    public int TileVectors => Vectors + (Refined * GroupVectors);

    /// <summary>Bytes of a tile's bit map of refined groups.</summary>
    public int MapBytes => (Groups + 7) / 8;

    public int GroupLength(int g) => (int)Math.Min(GroupSize, Shape.K - ((long)g * GroupSize));

    public int BlockLength(int c) => (int)Math.Min(BlockSize, Shape.K - ((long)c * BlockSize));

    public IReadOnlyList<TensorSpec> Tensors()
    {
        var tensors = new List<TensorSpec>
        {
            new("W", ElementType.UInt8, [Tiles, TileVectors, VectorBytes]),
            new("scales", ElementType.Float16, [Tiles, Blocks, TileRows]),
            new("group_scales", ElementType.UInt8, [Tiles, Groups, TileRows]),
        };
        if (Refined > 0) tensors.Add(new("refined", ElementType.UInt8, [Tiles, MapBytes]));
        if (Outliers > 0)
        {
            tensors.Add(new("outlier_positions", ElementType.UInt8, [Tiles, Blocks, Outliers, TileRows]));
            tensors.Add(new("outlier_values", ElementType.Int16, [Tiles, Blocks, Outliers, TileRows]));
        }

        return tensors;
    }

    public static void Validate(MixedParameters parameters)
    {
        if (!(parameters.Bits is >= 2 and <= 4.75)) throw new OrtQuantException($"bits is {parameters.Bits}; scheme 'mixed' has 2 to 4.75, all of its tensors included");
        if (parameters.GroupSize is not (16 or 32 or 64)) throw new OrtQuantException($"group_size is {parameters.GroupSize}; it must be 16, 32 or 64");
        if (parameters.Outliers is < 0 or > 4) throw new OrtQuantException($"outliers is {parameters.Outliers}; it must be 0 to 4 in each block of a row");
    }

    // The most groups with which a whole tile stays within the budget; none where it is beyond it without any.
    private int RefinedWithin(double bits)
    {
        var budget = (long)Math.Floor((bits * TileRows * Shape.K / 8) + 1e-6);
        var rest = budget - (((long)Vectors * VectorBytes) + (2L * Blocks * TileRows) + ((long)Groups * TileRows) + (3L * Blocks * Outliers * TileRows));
        return (int)Math.Clamp((rest - MapBytes) / (GroupVectors * VectorBytes), 0, Groups);
    }
}
