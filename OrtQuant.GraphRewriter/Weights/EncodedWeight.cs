using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Weights;

/// <summary>A weight that is stored in a scheme, dequantized row by row.</summary>
public sealed class EncodedWeight : IWeightSource
{
    private readonly IWeightScheme _scheme;
    private readonly SchemeParameters _parameters;
    private readonly IReadOnlyList<ReadOnlyMemory<byte>> _tensors;

    /// <summary>A view of stored tensors; they are not copied.</summary>
    /// <param name="scheme">Their scheme.</param>
    /// <param name="shape">Shape of the weight.</param>
    /// <param name="parameters">Parameters of the scheme.</param>
    /// <param name="tensors">The bytes of each of the scheme's tensors.</param>
    public EncodedWeight(IWeightScheme scheme, WeightShape shape, SchemeParameters parameters, IReadOnlyList<ReadOnlyMemory<byte>> tensors)
    {
        _scheme = scheme;
        _parameters = parameters;
        _tensors = tensors;
        Shape = shape;
    }

    /// <inheritdoc/>
    public WeightShape Shape { get; }

    /// <inheritdoc/>
    public void ReadRows(long n0, int count, Span<float> rows)
    {
        WeightSource.CheckRead(Shape, n0, count, rows.Length);
        _scheme.DecodeRows(_tensors, Shape, _parameters, n0, count, rows);
    }
}
