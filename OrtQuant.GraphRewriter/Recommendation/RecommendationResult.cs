using OrtQuant.GraphRewriter.Evaluation;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Recommendation;

/// <summary>What is asked of a recommendation.</summary>
public sealed record RecommendationOptions
{
    /// <summary>Most that the perplexity may rise, relative: 0.01 for one percent.</summary>
    public double MaxLoss { get; init; } = 0.01;

    /// <summary>Most bytes of graph and data; null for no limit.</summary>
    public long? MaxBytes { get; init; }

    /// <summary>Text to measure on; null: the model writes some.</summary>
    public IReadOnlyList<long[]>? Sequences { get; init; }

    /// <summary>Sequences that the model writes where none are given.</summary>
    public int OwnSequences { get; init; } = 8;

    /// <summary>Threads; 0 for one per processor.</summary>
    public int Threads { get; init; }

    /// <summary>What is asked besides: which weights, embeddings, target. Bits, group size and algorithm are the recommendation's.</summary>
    public PlanOptions Plan { get; init; } = new();
}

/// <summary>A recipe that was tried.</summary>
/// <param name="Recipe">The recipe.</param>
/// <param name="Plan">What it comes to for this model.</param>
/// <param name="Model">What was measured.</param>
/// <param name="Loss">Rise of the perplexity, relative.</param>
/// <param name="LossError">Standard error of it.</param>
/// <param name="Meets">It is within the limits.</param>
/// <param name="Seconds">Making and measuring it.</param>
public sealed record Trial(Recipe Recipe, QuantizationPlan Plan, EvaluatedModel Model, double Loss, double LossError, bool Meets, double Seconds);

/// <summary>What was found.</summary>
/// <param name="Best">The smallest model within the limits; null where none is.</param>
/// <param name="Reference">The original, measured alike.</param>
/// <param name="Trials">Everything that was tried, in order.</param>
/// <param name="OwnText">The model was measured on text that it wrote itself: losses are exp(KL) - 1, what is to be expected on such text.</param>
/// <param name="ScoredTokens">Ids scored.</param>
/// <param name="Seconds">Wall-clock time.</param>
public sealed record RecommendationResult(Trial? Best, EvaluatedModel Reference, IReadOnlyList<Trial> Trials, bool OwnText, long ScoredTokens, double Seconds);
