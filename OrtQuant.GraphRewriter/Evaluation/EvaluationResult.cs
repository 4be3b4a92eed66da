using OrtQuant.GraphRewriter.Benchmarks;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Evaluation;

/// <summary>A model to evaluate.</summary>
/// <param name="Name">What reports call it.</param>
/// <param name="File">Path of its graph.</param>
public sealed record NamedModel(string Name, string File);

/// <summary>What to evaluate on, and how to open the models.</summary>
public sealed record EvaluationOptions
{
    /// <summary>Token sequences, independent of each other; the first id of each is context only.</summary>
    public required IReadOnlyList<long[]> Sequences { get; init; }

    /// <summary>How to open every model.</summary>
    public SessionSettings Session { get; init; } = new();

    /// <summary>Also measure the speed, in alternating rounds; null: not.</summary>
    public ModelBenchmarkOptions? Speed { get; init; }
}

/// <summary>A mean, and what is known about the numbers it is the mean of.</summary>
/// <param name="Mean">Mean.</param>
/// <param name="StandardError">Standard deviation of the mean if the numbers were independent; NaN for fewer than two.</param>
/// <param name="Median">Median.</param>
/// <param name="P90">90th percentile (nearest rank).</param>
/// <param name="P99">99th percentile (nearest rank).</param>
/// <param name="Max">Largest.</param>
public sealed record Spread(double Mean, double StandardError, double Median, double P90, double P99, double Max)
{
    /// <summary>Summarizes numbers.</summary>
    /// <param name="values">At least one; NaN among them makes every figure NaN.</param>
    public static Spread Of(IReadOnlyList<double> values)
    {
        if (values.Any(double.IsNaN)) return new Spread(double.NaN, double.NaN, double.NaN, double.NaN, double.NaN, double.NaN);
        var sorted = values.Order().ToArray();
        var mean = values.Sum() / values.Count;
        var squares = values.Sum(value => (value - mean) * (value - mean));
        var error = values.Count > 1 ? Math.Sqrt(squares / (values.Count - 1) / values.Count) : double.NaN;
        return new Spread(mean, error, Rank(0.5), Rank(0.9), Rank(0.99), sorted[^1]);

        double Rank(double share) => sorted[Math.Clamp((int)Math.Ceiling(share * sorted.Length) - 1, 0, sorted.Length - 1)];
    }
}

/// <summary>How a model differs from the reference in what it predicts.</summary>
/// <param name="Divergence">KL(reference || model) of the next-token distribution at each position, nats.</param>
/// <param name="LossDifference">
/// Negative log-probability of each scored id, model minus reference, nats: pairs of the same id, so its standard error tells models apart
/// that their perplexities alone do not. exp(mean) is the ratio of the perplexities.
/// </param>
/// <param name="Top1Agreement">Share of positions where both find the same id most likely.</param>
public sealed record Fidelity(Spread Divergence, Spread LossDifference, double Top1Agreement);

/// <summary>Speed of a model.</summary>
/// <param name="Prefill">Prompt tokens a second, median.</param>
/// <param name="Decode">New tokens a second, median; NaN where there was one new token only.</param>
public sealed record ModelSpeed(double Prefill, double Decode);

/// <summary>One model of an evaluation.</summary>
public sealed record EvaluatedModel
{
    /// <summary>What reports call it.</summary>
    public required string Name { get; init; }

    /// <summary>exp(mean negative log-probability of the scored ids).</summary>
    public required double Perplexity { get; init; }

    /// <summary>Against the reference; null for the reference itself.</summary>
    public Fidelity? Fidelity { get; init; }

    /// <summary>Graph and external data.</summary>
    public required long Bytes { get; init; }

    /// <summary>Stored bits (codes, scales, zero points) of all matrices per weight, head and embeddings included; null without any.</summary>
    public double? BitsPerWeight { get; init; }

    /// <summary>The same of the linears of the layers alone: neither the head nor tables that rows are gathered from.</summary>
    public double? LayerBitsPerWeight { get; init; }

    /// <summary>Opening the session.</summary>
    public required double LoadSeconds { get; init; }

    /// <summary>Growth of the process's anonymous memory from before the load until after a first run; null where the system does not tell.</summary>
    public long? AnonymousBytes { get; init; }

    /// <summary>Null where it was not measured.</summary>
    public ModelSpeed? Speed { get; init; }

    /// <summary>No figure is NaN or an infinity.</summary>
    public bool IsFinite => double.IsFinite(Perplexity) && double.IsFinite(Fidelity?.Divergence.Mean ?? 0);
}

/// <summary>Several models side by side.</summary>
/// <param name="Reference">What the others are compared with.</param>
/// <param name="Models">The others, in the order given.</param>
/// <param name="Sequences">Sequences that were run.</param>
/// <param name="Positions">Positions whose distributions were compared.</param>
/// <param name="ScoredTokens">Ids that were scored: all but the first of each sequence.</param>
/// <param name="Seconds">Wall-clock time.</param>
public sealed record EvaluationResult(
    EvaluatedModel Reference, IReadOnlyList<EvaluatedModel> Models, int Sequences, long Positions, long ScoredTokens, double Seconds)
{
    /// <summary>Reference and models.</summary>
    public IEnumerable<EvaluatedModel> All => Models.Prepend(Reference);
}
