using System.Text.Json.Nodes;
using OrtQuant.Descriptions;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes.Lut;

/// <summary>
/// Scheme <c>lut</c>: binary-coded weights, <c>w[n,k] = z[n,g] + sum over planes i of alpha[n,g,i] * (2 c_i[n,k] - 1)</c>, of 1 to 4 planes, multiplied through tables of
/// partial sums of the activations. The bytes are specified in <c>SPEC.md</c> beside this file.
/// </summary>
public sealed class LutScheme : IWeightScheme
{
    /// <summary>The stored layout, attribute <c>layout</c>.</summary>
    public const string Layout = "p16";

    /// <summary>Attribute <c>format_version</c>.</summary>
    public const int FormatVersion = 1;

    private LutScheme()
    {
    }

    /// <summary>The scheme.</summary>
    public static LutScheme Instance { get; } = new();

    /// <inheritdoc/>
    public string Name => "lut";

    /// <inheritdoc/>
    public string Title => "1 to 4 binary planes in groups with free or uniform levels: multiplied through tables of partial sums";

    /// <inheritdoc/>
    public string Paper => "LUT-GEMM, arXiv 2206.09557";

    /// <inheritdoc/>
    public OpDescription Op => LutOp.MatMul;

    /// <inheritdoc/>
    /// <remarks>Float level: float32 sums in another order. Int8 level: both round activations alike, but for values next to a tie.</remarks>
    public SchemeQuality Quality { get; } = new(FloatLevel: 1e-5, Int8Level: 1e-3, Int8LevelOfExactBody: 3e-2);

    /// <inheritdoc/>
    public SchemeParameters DefaultParameters { get; } = new LutParameters();

    /// <inheritdoc/>
    public IReadOnlyList<SchemeParameters> Samples { get; } =
    [
        new LutParameters(),
        new LutParameters(1, 128),
        new LutParameters(2, 32),
        new LutParameters(4, 16),
        new LutParameters(3, LutParameters.WholeRow, ScaleType: ElementType.Float32),
        new LutParameters(2, 256),
        new LutParameters(2, 32, LutLevels.Uniform, IntegerZeroPoints: true),
        new LutParameters(3, 64, LutLevels.Uniform),
        new LutParameters(4, 128, LutLevels.Uniform, IntegerZeroPoints: true, ScaleType: ElementType.Float32),
        new LutParameters(2, LutParameters.WholeRow, LutLevels.Uniform, ScaleType: ElementType.Float32),
    ];

    /// <inheritdoc/>
    public SchemeParameters Parse(JsonObject json) => LutJson.Parse(json);

    /// <inheritdoc/>
    public JsonObject ToJson(SchemeParameters parameters) => LutJson.ToJson(Cast(parameters));

    /// <inheritdoc/>
    public IReadOnlyList<TensorSpec> Tensors(WeightShape shape, SchemeParameters parameters) =>
        new LutGeometry(shape, Cast(parameters)).Tensors();

    /// <inheritdoc/>
    public IReadOnlyList<OpAttributeValue> Attributes(WeightShape shape, SchemeParameters parameters, int accuracyLevel) =>
        LutOp.MatMulAttributes(shape, Cast(parameters), accuracyLevel);

    /// <inheritdoc/>
    public IWeightScheme HeadScheme => GroupScheme.Instance;

    /// <inheritdoc/>
    public SchemeParameters? Holding(GroupParameters parameters) => parameters.Bits is 2 or 3 or 4
        ? new LutParameters(parameters.Bits, parameters.GroupSize, LutLevels.Uniform, parameters.ZeroPoint != ZeroPointKind.Float, parameters.ScaleType)
        : null;

    /// <inheritdoc/>
    public IWeightGrid CreateGrid(WeightShape shape, SchemeParameters parameters)
    {
        var geometry = new LutGeometry(shape, Cast(parameters));
        return geometry.Parameters.Levels == LutLevels.Free ? new LutFreeGrid(geometry) : new LutUniformGrid(geometry);
    }

    /// <inheritdoc/>
    public void Encode(IWeightGrid grid, IReadOnlyList<Memory<byte>> tensors, int threads = 0)
    {
        var own = grid as LutGrid
            ?? throw new ArgumentException($"grid is a {grid.GetType().Name}; scheme '{Name}' encodes its own grids", nameof(grid));
        SchemeArguments.CheckLengths(own.Geometry.Tensors(), own.Geometry.Parameters, tensors.Select(tensor => tensor.Length));
        LutCodec.Encode(own, tensors, threads);
    }

    /// <inheritdoc/>
    public IWeightGrid Read(IReadOnlyList<ReadOnlyMemory<byte>> tensors, WeightShape shape, SchemeParameters parameters, int threads = 0)
    {
        var grid = (LutGrid)CreateGrid(shape, parameters);
        SchemeArguments.CheckLengths(grid.Geometry.Tensors(), grid.Geometry.Parameters, tensors.Select(tensor => tensor.Length));
        LutCodec.Read(grid, tensors, threads);
        return grid;
    }

    /// <inheritdoc/>
    public void DecodeRows(
        IReadOnlyList<ReadOnlyMemory<byte>> tensors, WeightShape shape, SchemeParameters parameters, long n0, int count, Span<float> rows)
    {
        var geometry = new LutGeometry(shape, Cast(parameters));
        SchemeArguments.CheckLengths(geometry.Tensors(), geometry.Parameters, tensors.Select(tensor => tensor.Length));
        SchemeArguments.CheckRows(shape, n0, count, rows);
        LutCodec.DecodeRows(geometry, tensors, n0, count, rows);
    }

    internal static string NameOf(LutLevels levels) => levels == LutLevels.Free ? "free" : "uniform";

    private static LutParameters Cast(SchemeParameters parameters) => parameters as LutParameters
        ?? throw new ArgumentException($"parameters are {parameters.GetType().Name}; scheme 'lut' takes {nameof(LutParameters)}", nameof(parameters));
}
