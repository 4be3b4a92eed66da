using System.Numerics.Tensors;

namespace OrtQuant.GraphRewriter.Running;

/// <summary>Chooses the next token from scores.</summary>
/// <param name="temperature">0 takes the highest score; else scores are divided by it before a token is drawn.</param>
/// <param name="seed">The same seed draws the same tokens.</param>
public sealed class Sampler(double temperature, int seed)
{
    private readonly Random _random = new(seed);
    private float[] _probabilities = [];

    /// <summary>The id of the next token; of equal highest scores the lowest id.</summary>
    /// <param name="scores">One number an id.</param>
    public int Next(ReadOnlySpan<float> scores)
    {
        var best = TensorPrimitives.IndexOfMax(scores);
        if (temperature <= 0 || float.IsNaN(scores[best]))
        {
            return best;
        }

        if (_probabilities.Length < scores.Length)
        {
            _probabilities = new float[scores.Length];
        }

        var probabilities = _probabilities.AsSpan(0, scores.Length);
        TensorPrimitives.Subtract(scores, scores[best], probabilities);
        TensorPrimitives.Divide(probabilities, (float)temperature, probabilities);
        TensorPrimitives.Exp(probabilities, probabilities);
        var sum = 0.0;
        foreach (var probability in probabilities)
        {
            sum += probability;
        }

        var point = _random.NextDouble() * sum;
        for (var id = 0; id < probabilities.Length; id++)
        {
            point -= probabilities[id];
            if (point < 0)
            {
                return id;
            }
        }

        return best;
    }
}
