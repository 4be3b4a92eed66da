using System.Text.Json.Nodes;
using OrtQuant.Descriptions;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes.Smooth;

/// <summary>
/// Scheme <c>smooth</c>: weights of 4 bits as scheme <c>group</c> holds them, multiplied with activations that are divided by the maxima of their groups of
/// channels while the model runs, and then rounded to 4 or 8 bits. The bytes and the arithmetic are specified in <c>SPEC.md</c> beside this file.
/// </summary>
public sealed class SmoothScheme : IWeightScheme
{
    /// <summary>The stored layout, attribute <c>layout</c>.</summary>
    public const string Layout = GroupScheme.Layout;

    /// <summary>Attribute <c>format_version</c>.</summary>
    public const int FormatVersion = 1;

    private SmoothScheme()
    {
    }

    /// <summary>The scheme.</summary>
    public static SmoothScheme Instance { get; } = new();

    /// <inheritdoc/>
    public string Name => "smooth";

    /// <inheritdoc/>
    public string Title => "4 bits in groups, times activations of 4 or 8 bits that are smoothed by the maxima of groups of channels";

    /// <inheritdoc/>
    public string Paper => "Rotated Runtime Smooth, arXiv 2409.20361";

    /// <inheritdoc/>
    public OpDescription Op => SmoothOp.MatMul;

    /// <inheritdoc/>
    public IReadOnlyList<OpDescription> Ops => [Op, HadamardOp.Transform];

    /// <inheritdoc/>
    /// <remarks>
    /// Float level: float32 sums in another order. Int8 level: body and kernels round activations by the same operations. Rounding to 4 bits itself costs about a tenth of a product.
    /// </remarks>
    public SchemeQuality Quality { get; } = new(FloatLevel: 1e-5, Int8Level: 1e-3, Int8LevelOfExactBody: 0.5);

    /// <inheritdoc/>
    public SchemeParameters DefaultParameters { get; } = new SmoothParameters();

    /// <inheritdoc/>
    public IReadOnlyList<SchemeParameters> Samples { get; } =
    [
        new SmoothParameters(),
        new SmoothParameters(GroupSize: SmoothParameters.WholeRow, SmoothSize: 128, Scope: SmoothScope.Call),
        new SmoothParameters(GroupSize: 16, SmoothSize: 64, ActivationBits: 8, Scope: SmoothScope.None),
        new SmoothParameters(GroupSize: 128, SmoothSize: 128, ActivationBits: 8, Scope: SmoothScope.Call, ScaleType: ElementType.Float32),
    ];

    /// <inheritdoc/>
    public SchemeParameters Parse(JsonObject json) => SmoothJson.Parse(json);

    /// <inheritdoc/>
    public JsonObject ToJson(SchemeParameters parameters) => SmoothJson.ToJson(Cast(parameters));

    /// <inheritdoc/>
    public IReadOnlyList<TensorSpec> Tensors(WeightShape shape, SchemeParameters parameters) => Geometry(shape, parameters).Tensors();

    /// <inheritdoc/>
    public IReadOnlyList<OpAttributeValue> Attributes(WeightShape shape, SchemeParameters parameters, int accuracyLevel) =>
        SmoothOp.MatMulAttributes(shape, Cast(parameters), accuracyLevel);

    /// <inheritdoc/>
    public IWeightScheme HeadScheme => GroupScheme.Instance;

    /// <inheritdoc/>
    public IWeightGrid CreateGrid(WeightShape shape, SchemeParameters parameters) => new GroupGrid(Geometry(shape, parameters), parameters);

    /// <inheritdoc/>
    public void Encode(IWeightGrid grid, IReadOnlyList<Memory<byte>> tensors, int threads = 0)
    {
        var own = grid is GroupGrid { Parameters: SmoothParameters } group
            ? group
            : throw new ArgumentException($"grid is a {grid.GetType().Name} of {grid.Parameters.GetType().Name}; scheme '{Name}' encodes its own grids", nameof(grid));
        SchemeArguments.CheckLengths(own.Geometry.Tensors(), own.Parameters, tensors.Select(tensor => tensor.Length));
        GroupCodec.Encode(own, tensors, threads);
    }

    /// <inheritdoc/>
    public IWeightGrid Read(IReadOnlyList<ReadOnlyMemory<byte>> tensors, WeightShape shape, SchemeParameters parameters, int threads = 0)
    {
        var geometry = Geometry(shape, parameters);
        SchemeArguments.CheckLengths(geometry.Tensors(), parameters, tensors.Select(tensor => tensor.Length));
        return GroupCodec.Read(geometry, tensors, threads, parameters);
    }

    /// <inheritdoc/>
    public void DecodeRows(
        IReadOnlyList<ReadOnlyMemory<byte>> tensors, WeightShape shape, SchemeParameters parameters, long n0, int count, Span<float> rows)
    {
        var geometry = Geometry(shape, parameters);
        SchemeArguments.CheckLengths(geometry.Tensors(), parameters, tensors.Select(tensor => tensor.Length));
        SchemeArguments.CheckRows(shape, n0, count, rows);
        GroupCodec.DecodeRows(geometry, tensors, n0, count, rows);
    }

    private static GroupGeometry Geometry(WeightShape shape, SchemeParameters parameters) => SmoothGeometry.Of(shape, Cast(parameters));

    private static SmoothParameters Cast(SchemeParameters parameters) => parameters as SmoothParameters
        ?? throw new ArgumentException($"parameters are {parameters.GetType().Name}; scheme 'smooth' takes {nameof(SmoothParameters)}", nameof(parameters));
}
