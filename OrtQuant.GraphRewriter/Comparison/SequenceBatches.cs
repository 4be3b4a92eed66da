using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Comparison;

/// <summary>Groups neighbouring sequences of one length, so that short ones share a run.</summary>
internal static class SequenceBatches
{
    // Beyond this many rows a matrix product gains nothing from more of them.
    private const int MaxRows = 512;

    /// <summary>Batches in the order of the sequences: ids [batch, length] row-major, and the batch.</summary>
    /// <param name="sequences">The sequences.</param>
    /// <param name="models">All that will run the batches; one exported for a single sequence gets one at a time.</param>
    public static IEnumerable<(long[] Ids, int Batch)> Of(IReadOnlyList<long[]> sequences, params IReadOnlyList<LanguageModel> models) =>
        Of(sequences, models.All(model => model.Signature.InputIds!.Dimensions[0] < 0));

    /// <summary>The same for a graph that is not open.</summary>
    /// <param name="sequences">The sequences.</param>
    /// <param name="several">Whether it takes several at a time.</param>
    public static IEnumerable<(long[] Ids, int Batch)> Of(IReadOnlyList<long[]> sequences, bool several)
    {
        var maxRows = several ? MaxRows : 0;
        for (var first = 0; first < sequences.Count;)
        {
            var length = sequences[first].Length;
            var last = first + 1;
            while (last < sequences.Count && sequences[last].Length == length && (last - first + 1) * length <= maxRows)
            {
                last++;
            }

            yield return ([.. sequences.Skip(first).Take(last - first).SelectMany(sequence => sequence)], last - first);
            first = last;
        }
    }
}
