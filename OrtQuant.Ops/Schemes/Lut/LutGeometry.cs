using System.Numerics;
using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Lut;

/// <summary>Sizes of the stored tensors of one weight, as SPEC.md defines them; valid by construction.</summary>
internal sealed class LutGeometry
{
    /// <summary>Outputs interleaved in a tile.</summary>
    public const int TileRows = 16;

    /// <summary>Consecutive k in a chunk.</summary>
    public const int ChunkSize = 32;

    /// <summary>Most planes.</summary>
    public const int MaxBits = 4;

    public LutGeometry(WeightShape shape, LutParameters parameters)
    {
        if (shape.N is < 1 or > int.MaxValue || shape.K is < 1 or > int.MaxValue)
        {
            throw new OrtQuantException($"weight shape is {shape}; N and K must each be 1 to {int.MaxValue}");
        }

        Validate(parameters);
        Shape = shape;
        Parameters = parameters;
        Tiles = (int)((shape.N + TileRows - 1) / TileRows);
        Chunks = (int)((shape.K + ChunkSize - 1) / ChunkSize);
        GroupSize = parameters.GroupSize == LutParameters.WholeRow ? (int)shape.K : parameters.GroupSize;
        Groups = (int)((shape.K + GroupSize - 1) / GroupSize);
    }

    public WeightShape Shape { get; }

    public LutParameters Parameters { get; }

    public int Tiles { get; }

    public int Chunks { get; }

    /// <summary>Consecutive k of a group; K where a row is one.</summary>
    public int GroupSize { get; }

    public int Groups { get; }

    /// <summary>Coefficients of a group.</summary>
    public int Coefficients => Parameters.Levels == LutLevels.Free ? Parameters.Bits : 1;

    /// <summary>Bytes of one chunk of one tile: 16 x 32 codes.</summary>
    public int ChunkBytes => TileRows * ChunkSize * Parameters.Bits / 8;

    /// <summary>Bytes of the packed weights of one tile.</summary>
    public long TileBytes => (long)Chunks * ChunkBytes;

    public int GroupLength(int g) => (int)Math.Min(GroupSize, Shape.K - ((long)g * GroupSize));

    public IReadOnlyList<TensorSpec> Tensors() =>
    [
        new("W", ElementType.UInt8, [Tiles, Chunks, ChunkBytes]),
        new("scales", Parameters.ScaleType, [Tiles, Groups, Coefficients, TileRows]),
        new("zero_points", Parameters.IntegerZeroPoints ? ElementType.UInt8 : Parameters.ScaleType, [Tiles, Groups, TileRows]),
    ];

    public static void Validate(LutParameters parameters)
    {
        if (!Enum.IsDefined(parameters.Levels)) throw new OrtQuantException($"levels is {parameters.Levels}; it must be free or uniform");
        if (parameters.Bits is < 1 or > MaxBits) throw new OrtQuantException($"bits is {parameters.Bits}; it must be 1, 2, 3 or 4");
        if (parameters is { Levels: LutLevels.Uniform, Bits: 1 }) throw new OrtQuantException("bits is 1; with levels uniform it must be 2, 3 or 4");
        if (parameters is { Levels: LutLevels.Free, IntegerZeroPoints: true }) throw new OrtQuantException("zero points are integers; free levels have an offset, a real number");
        if (parameters.GroupSize != LutParameters.WholeRow && (parameters.GroupSize < 16 || !BitOperations.IsPow2(parameters.GroupSize)))
        {
            throw new OrtQuantException($"group_size is {parameters.GroupSize}; it must be a power of two, at least 16, or -1 for a whole row");
        }

        if (parameters.ScaleType is not (ElementType.Float16 or ElementType.Float32))
        {
            throw new OrtQuantException($"scale_type is {parameters.ScaleType}; it must be float16 or float32");
        }
    }
}
