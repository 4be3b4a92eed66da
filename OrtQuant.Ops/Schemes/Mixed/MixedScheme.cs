using System.Text.Json.Nodes;
using OrtQuant.Descriptions;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes.Mixed;

/// <summary>
/// Scheme <c>mixed</c>: <c>w[n,k] = scale[n,c] * (s[n,g] * (q[n,k] - z[n,g]) + o[n,k])</c>, groups of 2 bits of which some have 4, their scales of 4 bits in
/// units of a float16 scale for each block of a row, and a few sparse outliers. The bytes are specified in <c>SPEC.md</c> beside this file.
/// </summary>
public sealed class MixedScheme : IWeightScheme
{
    /// <summary>The stored layout, attribute <c>layout</c>.</summary>
    public const string Layout = "n16";

    /// <summary>Attribute <c>format_version</c>.</summary>
    public const int FormatVersion = 1;

    private MixedScheme()
    {
    }

    /// <summary>The scheme.</summary>
    public static MixedScheme Instance { get; } = new();

    /// <inheritdoc/>
    public string Name => "mixed";

    /// <inheritdoc/>
    public string Title => "2 bits, 4 in the groups that need them, sparse outliers of 16; any average from 2.3 bits on";

    /// <inheritdoc/>
    public string Paper => "Fast and Efficient 2-bit LLM Inference, arXiv 2311.16442; SqueezeLLM, arXiv 2306.07629";

    /// <inheritdoc/>
    public OpDescription Op => MixedOp.MatMul;

    /// <inheritdoc/>
    /// <remarks>
    /// Float level: float32 sums in another order. Int8 level: both round activations alike, in the same blocks, but for values next to a tie.
    /// </remarks>
    public SchemeQuality Quality { get; } = new(FloatLevel: 1e-5, Int8Level: 2e-3, Int8LevelOfExactBody: 2e-2);

    /// <inheritdoc/>
    public SchemeParameters DefaultParameters { get; } = new MixedParameters();

    /// <inheritdoc/>
    public IReadOnlyList<SchemeParameters> Samples { get; } =
    [
        new MixedParameters(), new MixedParameters(2, 32, 0), new MixedParameters(3.5, 16, 2), new MixedParameters(4.75, 64, 4), new MixedParameters(2.4, 64),
        new MixedParameters(3.2, 32, 0),
    ];

    /// <inheritdoc/>
    public bool BitsIncludeEverything => true;

    /// <inheritdoc/>
    public SchemeParameters Parse(JsonObject json) => MixedJson.Parse(json);

    /// <inheritdoc/>
    public JsonObject ToJson(SchemeParameters parameters) => MixedJson.ToJson(Cast(parameters));

    /// <inheritdoc/>
    public IReadOnlyList<TensorSpec> Tensors(WeightShape shape, SchemeParameters parameters) => new MixedGeometry(shape, Cast(parameters)).Tensors();

    /// <inheritdoc/>
    public IReadOnlyList<OpAttributeValue> Attributes(WeightShape shape, SchemeParameters parameters, int accuracyLevel) =>
        MixedOp.MatMulAttributes(shape, Cast(parameters), accuracyLevel);

    /// <inheritdoc/>
    public IWeightScheme HeadScheme => GroupScheme.Instance;

    /// <inheritdoc/>
    public IWeightGrid CreateGrid(WeightShape shape, SchemeParameters parameters) => new MixedGrid(new MixedGeometry(shape, Cast(parameters)));

    /// <inheritdoc/>
    public void Encode(IWeightGrid grid, IReadOnlyList<Memory<byte>> tensors, int threads = 0)
    {
        var own = grid as MixedGrid
            ?? throw new ArgumentException($"grid is a {grid.GetType().Name}; scheme '{Name}' encodes its own grids", nameof(grid));
        SchemeArguments.CheckLengths(own.Geometry.Tensors(), own.Geometry.Parameters, tensors.Select(tensor => tensor.Length));
        MixedCodec.Encode(own, tensors, threads);
    }

    /// <inheritdoc/>
    public IWeightGrid Read(IReadOnlyList<ReadOnlyMemory<byte>> tensors, WeightShape shape, SchemeParameters parameters, int threads = 0)
    {
        var geometry = new MixedGeometry(shape, Cast(parameters));
        SchemeArguments.CheckLengths(geometry.Tensors(), geometry.Parameters, tensors.Select(tensor => tensor.Length));
        return MixedCodec.Read(geometry, tensors, threads);
    }

    /// <inheritdoc/>
    public void DecodeRows(
        IReadOnlyList<ReadOnlyMemory<byte>> tensors, WeightShape shape, SchemeParameters parameters, long n0, int count, Span<float> rows)
    {
        var geometry = new MixedGeometry(shape, Cast(parameters));
        SchemeArguments.CheckLengths(geometry.Tensors(), geometry.Parameters, tensors.Select(tensor => tensor.Length));
        SchemeArguments.CheckRows(shape, n0, count, rows);
        MixedCodec.DecodeRows(geometry, tensors, n0, count, rows);
    }

    private static MixedParameters Cast(SchemeParameters parameters) => parameters as MixedParameters
        ?? throw new ArgumentException($"parameters are {parameters.GetType().Name}; scheme 'mixed' takes {nameof(MixedParameters)}", nameof(parameters));
}
