using System.Text.Json.Nodes;
using OrtQuant.Descriptions;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes.Dual;

/// <summary>
/// Scheme <c>dual</c>: <c>w[n,k] = scale[n] * (s[n,g] * q[n,k] - z[n,g])</c>, codes of 4 bits in groups with an integer scale and zero point, inside rows of
/// int8 with a float scale. The bytes are specified in <c>SPEC.md</c> beside this file.
/// </summary>
public sealed class DualScheme : IWeightScheme
{
    /// <summary>The stored layout, attribute <c>layout</c>.</summary>
    public const string Layout = "n16";

    /// <summary>Attribute <c>format_version</c>.</summary>
    public const int FormatVersion = 1;

    private DualScheme()
    {
    }

    /// <summary>The scheme.</summary>
    public static DualScheme Instance { get; } = new();

    /// <inheritdoc/>
    public string Name => "dual";

    /// <inheritdoc/>
    public string Title => "4 bits in groups with integer scales inside int8 rows: one integer product over a whole row";

    /// <inheritdoc/>
    public string Paper => "DGQ, arXiv 2310.04836; QServe, arXiv 2405.04532";

    /// <inheritdoc/>
    public OpDescription Op => DualOp.MatMul;

    /// <inheritdoc/>
    /// <remarks>
    /// Float level: float32 sums in another order. Int8 level: both round activations alike, but for values next to a tie; a row of X has one step for all of
    /// K, up to 1/254 of a range that outliers make wide, so that one of them may count for half a percent. Rounding itself costs 2.6 to 3.3 % a product on SmolLM2-135M.
    /// </remarks>
    public SchemeQuality Quality { get; } = new(FloatLevel: 1e-5, Int8Level: 1e-2, Int8LevelOfExactBody: 0.1);

    /// <inheritdoc/>
    public SchemeParameters DefaultParameters { get; } = new DualParameters();

    /// <inheritdoc/>
    public IReadOnlyList<SchemeParameters> Samples { get; } = [new DualParameters(), new DualParameters(32), new DualParameters(64), new DualParameters(256)];

    /// <inheritdoc/>
    public SchemeParameters Parse(JsonObject json) => DualJson.Parse(json);

    /// <inheritdoc/>
    public JsonObject ToJson(SchemeParameters parameters) => DualJson.ToJson(Cast(parameters));

    /// <inheritdoc/>
    public IReadOnlyList<TensorSpec> Tensors(WeightShape shape, SchemeParameters parameters) =>
        new DualGeometry(shape, Cast(parameters)).Tensors();

    /// <inheritdoc/>
    public IReadOnlyList<OpAttributeValue> Attributes(WeightShape shape, SchemeParameters parameters, int accuracyLevel) =>
        DualOp.MatMulAttributes(shape, Cast(parameters), accuracyLevel);

    /// <inheritdoc/>
    public IWeightScheme HeadScheme => GroupScheme.Instance;

    /// <inheritdoc/>
    public IWeightGrid CreateGrid(WeightShape shape, SchemeParameters parameters) =>
        new DualGrid(new DualGeometry(shape, Cast(parameters)));

    /// <inheritdoc/>
    public void Encode(IWeightGrid grid, IReadOnlyList<Memory<byte>> tensors, int threads = 0)
    {
        var own = grid as DualGrid
            ?? throw new ArgumentException($"grid is a {grid.GetType().Name}; scheme '{Name}' encodes its own grids", nameof(grid));
        SchemeArguments.CheckLengths(own.Geometry.Tensors(), own.Geometry.Parameters, tensors.Select(tensor => tensor.Length));
        DualCodec.Encode(own, tensors, threads);
    }

    /// <inheritdoc/>
    public IWeightGrid Read(IReadOnlyList<ReadOnlyMemory<byte>> tensors, WeightShape shape, SchemeParameters parameters, int threads = 0)
    {
        var geometry = new DualGeometry(shape, Cast(parameters));
        SchemeArguments.CheckLengths(geometry.Tensors(), geometry.Parameters, tensors.Select(tensor => tensor.Length));
        return DualCodec.Read(geometry, tensors, threads);
    }

    /// <inheritdoc/>
    public void DecodeRows(
        IReadOnlyList<ReadOnlyMemory<byte>> tensors, WeightShape shape, SchemeParameters parameters, long n0, int count, Span<float> rows)
    {
        var geometry = new DualGeometry(shape, Cast(parameters));
        SchemeArguments.CheckLengths(geometry.Tensors(), geometry.Parameters, tensors.Select(tensor => tensor.Length));
        SchemeArguments.CheckRows(shape, n0, count, rows);
        DualCodec.DecodeRows(geometry, tensors, n0, count, rows);
    }

    private static DualParameters Cast(SchemeParameters parameters) => parameters as DualParameters
        ?? throw new ArgumentException($"parameters are {parameters.GetType().Name}; scheme 'dual' takes {nameof(DualParameters)}", nameof(parameters));
}
