using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Weights;

/// <summary>Weights of the same K one below the other, over N: merged linears that read the same input.</summary>
public sealed class ConcatenatedWeight : IWeightSource
{
    private readonly IWeightSource[] _sources;

    /// <summary>The weights in the order of their outputs.</summary>
    /// <exception cref="ArgumentException">There is none, or they differ in K.</exception>
    public ConcatenatedWeight(IReadOnlyList<IWeightSource> sources)
    {
        if (sources.Count == 0)
        {
            throw new ArgumentException("there are 0 weights; at least 1 is needed", nameof(sources));
        }

        var k = sources[0].Shape.K;
        if (sources.FirstOrDefault(source => source.Shape.K != k) is { } odd)
        {
            throw new ArgumentException($"a weight has shape {odd.Shape}; all must have K = {k}", nameof(sources));
        }

        _sources = [.. sources];
        Shape = new WeightShape(sources.Sum(source => source.Shape.N), k);
        PreferredRows = sources.Max(source => source.PreferredRows);
    }

    /// <inheritdoc/>
    public WeightShape Shape { get; }

    /// <inheritdoc/>
    public int PreferredRows { get; }

    /// <inheritdoc/>
    public void ReadRows(long n0, int count, Span<float> rows)
    {
        WeightSource.CheckRead(Shape, n0, count, rows.Length);
        var k = (int)Shape.K;
        long first = 0;
        foreach (var source in _sources)
        {
            var begin = Math.Max(n0, first);
            var end = Math.Min(n0 + count, first + source.Shape.N);
            if (begin < end)
            {
                source.ReadRows(begin - first, (int)(end - begin), rows.Slice((int)(begin - n0) * k, (int)(end - begin) * k));
            }

            first += source.Shape.N;
        }
    }
}
