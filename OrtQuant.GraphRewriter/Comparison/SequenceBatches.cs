namespace OrtQuant.GraphRewriter.Comparison;

/// <summary>Groups neighbouring sequences of one length, so that short ones share a run.</summary>
internal static class SequenceBatches
{
    // Beyond this many rows a matrix product gains nothing from more of them.
    private const int MaxRows = 512;

    /// <summary>Batches in the order of the sequences: ids [batch, length] row-major, and the batch.</summary>
    public static IEnumerable<(long[] Ids, int Batch)> Of(IReadOnlyList<long[]> sequences)
    {
        for (var first = 0; first < sequences.Count;)
        {
            var length = sequences[first].Length;
            var last = first + 1;
            while (last < sequences.Count && sequences[last].Length == length && (last - first + 1) * length <= MaxRows)
            {
                last++;
            }

            yield return ([.. sequences.Skip(first).Take(last - first).SelectMany(sequence => sequence)], last - first);
            first = last;
        }
    }
}
