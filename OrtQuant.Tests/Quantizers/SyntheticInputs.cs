using OrtQuant.GraphRewriter.Quantizers;
using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Schemes;

namespace OrtQuant.Tests.Quantizers;

/// <summary>Inputs X with correlated channels of very different size, as language models have them, and their statistics.</summary>
internal sealed class SyntheticInputs : IActivationStatistics
{
    private readonly float[] _gram;
    private readonly float[] _moments;

    private SyntheticInputs(int tokens, float[] gram, int k)
    {
        Tokens = tokens;
        _gram = gram;
        _moments = [.. Enumerable.Range(0, k).Select(i => gram[(i * k) + i])];
    }

    public long Tokens { get; }

    public ReadOnlyMemory<float> SecondMoments => _moments;

    public ReadOnlyMemory<float> MeanAbs => default;

    public ReadOnlyMemory<float> AbsMax => default;

    public ReadOnlyMemory<float> Gram => WithGram ? _gram : default;

    public ReadOnlyMemory<float> CrossGram { get; init; }

    /// <summary>Whether <see cref="Gram"/> is given.</summary>
    public bool WithGram { get; init; } = true;

    /// <summary>Inputs driven by a few common factors.</summary>
    public static SyntheticInputs Create(int k, int seed, int tokens = 400, bool withGram = true)
    {
        var random = new Random(seed);
        var factors = Math.Max(1, k / 4);
        var mix = Enumerable.Range(0, factors * k).Select(_ => Normal(random)).ToArray();
        var size = Enumerable.Range(0, k).Select(_ => Math.Exp(1.2 * Normal(random))).ToArray();
        var gram = new double[k * k];
        var x = new double[k];
        for (var t = 0; t < tokens; t++)
        {
            var z = Enumerable.Range(0, factors).Select(_ => Normal(random)).ToArray();
            for (var i = 0; i < k; i++)
            {
                x[i] = Normal(random) * 0.5;
                for (var f = 0; f < factors; f++) x[i] += mix[(f * k) + i] * z[f] / Math.Sqrt(factors);
                x[i] *= size[i];
            }

            for (var i = 0; i < k; i++)
            {
                for (var j = 0; j < k; j++) gram[(i * k) + j] += x[i] * x[j] / tokens;
            }
        }

        return new SyntheticInputs(tokens, [.. gram.Select(value => (float)value)], k) { WithGram = withGram };
    }

    /// <summary>Statistics with this matrix.</summary>
    public static SyntheticInputs Of(float[] gram, int k) => new(1000, gram, k);

    /// <summary>The same with a cross Gram matrix.</summary>
    public SyntheticInputs With(float[] crossGram) => new((int)Tokens, _gram, _moments.Length) { CrossGram = crossGram };

    /// <summary>Weights of a normal distribution with a few outliers.</summary>
    public static DenseWeight Weight(WeightShape shape, int seed)
    {
        var random = new Random(seed);
        float[] values = [.. Enumerable.Range(0, (int)shape.Count).Select(i => (float)(0.04 * Normal(random) * (random.Next(60) == 0 ? 4 : 1)))];
        return new DenseWeight(shape, values);
    }

    /// <summary><c>trace((W - W') G (W - W')^T)</c>; with only the diagonal of G where <paramref name="diagonal"/>.</summary>
    public double OutputError(IWeightSource weight, QuantizedWeight quantized, bool diagonal = false)
    {
        var (n, k) = ((int)weight.Shape.N, (int)weight.Shape.K);
        var values = weight.ReadAll();
        var row = new float[k];
        var error = 0.0;
        for (var i = 0; i < n; i++)
        {
            quantized.Grid.Dequantize(i, row);
            for (var a = 0; a < k; a++)
            {
                var e = values[(i * k) + a] - (double)row[a];
                if (diagonal)
                {
                    error += e * e * _moments[a];
                    continue;
                }

                for (var b = 0; b < k; b++) error += e * _gram[(a * k) + b] * (values[(i * k) + b] - (double)row[b]);
            }
        }

        return error;
    }

    private static double Normal(Random random) =>
        Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
}
