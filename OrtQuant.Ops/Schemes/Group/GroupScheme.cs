using System.Text.Json.Nodes;
using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Group;

/// <summary>
/// Scheme <c>group</c>: <c>w[n,k] = scale[n,g] * (q[n,k] - zp[n,g])</c> with codes of 2, 3, 4 or 8 bits and groups of
/// consecutive k. The bytes are specified in <c>SPEC.md</c> beside this file.
/// </summary>
public sealed class GroupScheme : IWeightScheme
{
    /// <summary>The stored layout, attribute <c>layout</c>.</summary>
    public const string Layout = "n16";

    /// <summary>Attribute <c>format_version</c>.</summary>
    public const int FormatVersion = 1;

    private GroupScheme()
    {
    }

    /// <summary>The scheme.</summary>
    public static GroupScheme Instance { get; } = new();

    /// <inheritdoc/>
    public string Name => "group";

    /// <inheritdoc/>
    public string Title => "2, 3, 4 or 8 bits in groups, with a scale and an optional zero point each";

    /// <inheritdoc/>
    public string Paper => "FineQuant, arXiv 2308.09723";

    /// <inheritdoc/>
    public OpDescription Op => GroupOp.MatMul;

    /// <inheritdoc/>
    /// <remarks>
    /// Float level: float32 sums in another order. Int8 level: activations rounded to 8 bits with a scale for each group, about 0.6 % a product; whole
    /// models of 2 to 30 layers came out at 0.7 to 3.1 %.
    /// </remarks>
    public SchemeQuality Quality { get; } = new(FloatLevel: 1e-5, Int8Level: 1e-3, Int8LevelOfExactBody: 2e-2);

    /// <inheritdoc/>
    public SchemeParameters DefaultParameters { get; } = new GroupParameters();

    /// <inheritdoc/>
    public IReadOnlyList<SchemeParameters> Samples { get; } = CreateSamples();

    /// <inheritdoc/>
    public SchemeParameters Parse(JsonObject json) => GroupJson.Parse(json);

    /// <inheritdoc/>
    public JsonObject ToJson(SchemeParameters parameters) => GroupJson.ToJson(Cast(parameters));

    /// <inheritdoc/>
    public IReadOnlyList<TensorSpec> Tensors(WeightShape shape, SchemeParameters parameters) =>
        new GroupGeometry(shape, Cast(parameters)).Tensors();

    /// <inheritdoc/>
    public IReadOnlyList<OpAttributeValue> Attributes(WeightShape shape, SchemeParameters parameters, int accuracyLevel) =>
        GroupOp.MatMulAttributes(shape, Cast(parameters), accuracyLevel);

    /// <inheritdoc/>
    public OpDescription? GatherOp => GroupOp.Gather;

    /// <inheritdoc/>
    public IReadOnlyList<OpAttributeValue> GatherAttributes(WeightShape shape, SchemeParameters parameters, ElementType outputType) =>
        GroupOp.GatherAttributes(shape, Cast(parameters), outputType);

    /// <inheritdoc/>
    public IWeightGrid CreateGrid(WeightShape shape, SchemeParameters parameters) =>
        new GroupGrid(new GroupGeometry(shape, Cast(parameters)));

    /// <inheritdoc/>
    public void Encode(IWeightGrid grid, IReadOnlyList<Memory<byte>> tensors, int threads = 0)
    {
        var group = grid as GroupGrid
            ?? throw new ArgumentException($"grid is a {grid.GetType().Name}; scheme '{Name}' encodes its own grids", nameof(grid));
        SchemeArguments.CheckLengths(group.Geometry.Tensors(), group.Geometry.Parameters, tensors.Select(tensor => tensor.Length));
        GroupCodec.Encode(group, tensors, threads);
    }

    /// <inheritdoc/>
    public IWeightGrid Read(IReadOnlyList<ReadOnlyMemory<byte>> tensors, WeightShape shape, SchemeParameters parameters, int threads = 0)
    {
        var geometry = new GroupGeometry(shape, Cast(parameters));
        SchemeArguments.CheckLengths(geometry.Tensors(), geometry.Parameters, tensors.Select(tensor => tensor.Length));
        return GroupCodec.Read(geometry, tensors, threads);
    }

    /// <inheritdoc/>
    public void DecodeRows(
        IReadOnlyList<ReadOnlyMemory<byte>> tensors, WeightShape shape, SchemeParameters parameters, long n0, int count, Span<float> rows)
    {
        var geometry = new GroupGeometry(shape, Cast(parameters));
        SchemeArguments.CheckLengths(geometry.Tensors(), geometry.Parameters, tensors.Select(tensor => tensor.Length));
        SchemeArguments.CheckRows(shape, n0, count, rows);
        GroupCodec.DecodeRows(geometry, tensors, n0, count, rows);
    }

    private static GroupParameters Cast(SchemeParameters parameters) => parameters as GroupParameters
        ?? throw new ArgumentException($"parameters are {parameters.GetType().Name}; scheme 'group' takes {nameof(GroupParameters)}", nameof(parameters));

    private static List<SchemeParameters> CreateSamples()
    {
        var samples = new List<SchemeParameters>();
        foreach (var bits in (int[])[2, 3, 4, 8])
        {
            foreach (var zeroPoint in Enum.GetValues<ZeroPointKind>())
            {
                samples.Add(new GroupParameters(bits, 32, zeroPoint));
            }

            samples.Add(new GroupParameters(bits, 16, ZeroPointKind.Integer, ElementType.Float32));
            samples.Add(new GroupParameters(bits, 128, ZeroPointKind.Float, ElementType.Float32));
            samples.Add(new GroupParameters(bits, GroupParameters.WholeRow, ZeroPointKind.None));
            samples.Add(new GroupParameters(bits, GroupParameters.WholeRow, ZeroPointKind.Integer));
        }

        return samples;
    }
}
