using System.Numerics;
using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Group;

/// <summary>Sizes of the stored tensors of one weight, as SPEC.md defines them; valid by construction.</summary>
internal sealed class GroupGeometry
{
    /// <summary>Outputs interleaved in a tile.</summary>
    public const int TileRows = 16;

    /// <summary>Consecutive k in a chunk.</summary>
    public const int ChunkSize = 32;

    public GroupGeometry(WeightShape shape, GroupParameters parameters)
    {
        Validate(shape);
        Validate(parameters);
        Shape = shape;
        Parameters = parameters;
        Tiles = (int)((shape.N + TileRows - 1) / TileRows);
        Chunks = (int)((shape.K + ChunkSize - 1) / ChunkSize);
        GroupSize = parameters.GroupSize == GroupParameters.WholeRow ? (int)shape.K : parameters.GroupSize;
        Groups = (int)((shape.K + GroupSize - 1) / GroupSize);
    }

    public WeightShape Shape { get; }

    public GroupParameters Parameters { get; }

    public int Tiles { get; }

    public int Chunks { get; }

    /// <summary>Resolved: K for a whole row.</summary>
    public int GroupSize { get; }

    public int Groups { get; }

    public int MaxCode => (1 << Parameters.Bits) - 1;

    /// <summary>Bytes of one chunk of one tile: 16 x 32 codes.</summary>
    public int ChunkBytes => TileRows * ChunkSize * Parameters.Bits / 8;

    /// <summary>Bytes of the packed weights of one tile.</summary>
    public long TileBytes => (long)Chunks * ChunkBytes;

    /// <summary>Width of a stored integer zero point: that of a code, but 4 for 3-bit codes.</summary>
    public int ZeroPointBits => Parameters.Bits == 3 ? 4 : Parameters.Bits;

    /// <summary>Consecutive groups whose integer zero points share a byte.</summary>
    public int ZeroPointsPerByte => 8 / ZeroPointBits;

    /// <summary>Bytes of the integer zero points of one output.</summary>
    public int ZeroPointBytes => (Groups + ZeroPointsPerByte - 1) / ZeroPointsPerByte;

    /// <summary>The zero point where none is stored.</summary>
    public float ImplicitZeroPoint => 1 << (Parameters.Bits - 1);

    public int GroupLength(int g) => (int)Math.Min(GroupSize, Shape.K - ((long)g * GroupSize));

    public IReadOnlyList<TensorSpec> Tensors()
    {
        var weights = new TensorSpec("W", ElementType.UInt8, [Tiles, Chunks, ChunkBytes]);
        var scales = new TensorSpec("scales", Parameters.ScaleType, [Tiles, Groups, TileRows]);
        return Parameters.ZeroPoint switch
        {
            ZeroPointKind.None => [weights, scales],
            ZeroPointKind.Integer => [weights, scales, new("zero_points", ElementType.UInt8, [Tiles, ZeroPointBytes, TileRows])],
            _ => [weights, scales, new("zero_points", Parameters.ScaleType, [Tiles, Groups, TileRows])],
        };
    }

    public static void Validate(GroupParameters parameters)
    {
        if (parameters.Bits is not (2 or 3 or 4 or 8))
        {
            throw new OrtQuantException($"bits is {parameters.Bits}; it must be 2, 3, 4 or 8");
        }

        if (parameters.GroupSize != GroupParameters.WholeRow && (parameters.GroupSize < 16 || !BitOperations.IsPow2(parameters.GroupSize)))
        {
            throw new OrtQuantException($"group_size is {parameters.GroupSize}; it must be a power of two, at least 16, or -1 for a whole row");
        }

        if (!Enum.IsDefined(parameters.ZeroPoint))
        {
            throw new OrtQuantException($"zero_point is {parameters.ZeroPoint}; it must be none, integer or float");
        }

        if (parameters.ScaleType is not (ElementType.Float16 or ElementType.Float32))
        {
            throw new OrtQuantException($"scale_type is {parameters.ScaleType}; it must be float16 or float32");
        }
    }

    private static void Validate(WeightShape shape)
    {
        if (shape.N is < 1 or > int.MaxValue || shape.K is < 1 or > int.MaxValue)
        {
            throw new OrtQuantException($"weight shape is {shape}; N and K must each be 1 to {int.MaxValue}");
        }
    }
}
