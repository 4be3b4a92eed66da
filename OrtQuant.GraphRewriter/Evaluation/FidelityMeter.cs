using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Evaluation;

/// <summary>Collects, batch by batch, how far a model is from the reference. A few bytes a token; scores are not kept.</summary>
internal sealed class FidelityMeter
{
    private readonly List<double> _divergences = [];
    private readonly List<double> _lossDifferences = [];
    private double _loss;
    private long _agreements;

    /// <summary>exp(mean loss) of the ids scored so far.</summary>
    internal double Perplexity => Math.Exp(_loss / _lossDifferences.Count);

    /// <summary>The figures over everything taken in; at least one scored id.</summary>
    internal Fidelity Fidelity => new(Spread.Of(_divergences), Spread.Of(_lossDifferences), (double)_agreements / _divergences.Count);

    /// <summary>Mean divergence so far.</summary>
    internal double DivergenceMean => _divergences.Sum() / _divergences.Count;

    /// <summary>Takes in a model's scores of a batch.</summary>
    internal void Add(ReferenceBatch reference, Logits model)
    {
        // In the order of the rows, so that results do not depend on the number of threads.
        foreach (var (row, (divergence, agrees, loss)) in reference.Compare(model).Index())
        {
            _divergences.Add(divergence);
            _agreements += agrees ? 1 : 0;
            if (!reference.IsScored(row)) continue;
            _loss += loss;
            _lossDifferences.Add(loss - reference.Losses[row]);
        }
    }
}
