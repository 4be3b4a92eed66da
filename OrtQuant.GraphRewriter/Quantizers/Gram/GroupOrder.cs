namespace OrtQuant.GraphRewriter.Quantizers.Gram;

/// <summary>
/// The order in which positions of a row are fixed: groups stay whole, so that the stored layout is that of any other algorithm; those with the
/// largest inputs come first, while most of the row is still free to compensate, and so within a group.
/// </summary>
internal sealed class GroupOrder
{
    public GroupOrder(ReadOnlySpan<float> diagonal, int groupSize)
    {
        var k = diagonal.Length;
        var weights = diagonal.ToArray();
        var groups = Enumerable.Range(0, (k + groupSize - 1) / groupSize)
            .Select(g => (Group: g, Members: Enumerable.Range(g * groupSize, Math.Min(groupSize, k - (g * groupSize))).ToArray()))
            .OrderByDescending(group => group.Members.Average(i => (double)weights[i])).ThenBy(group => group.Group).ToArray();
        Positions = [.. groups.SelectMany(group => group.Members.OrderByDescending(i => weights[i]).ThenBy(i => i))];
        var start = 0;
        Groups = new (int, int, int)[groups.Length];
        for (var i = 0; i < groups.Length; i++)
        {
            Groups[i] = (groups[i].Group, start, groups[i].Members.Length);
            start += groups[i].Members.Length;
        }
    }

    /// <summary>For each place in the order, the position k in the row.</summary>
    public int[] Positions { get; }

    /// <summary>The groups in order: which, and the places they take.</summary>
    public (int Group, int Start, int Length)[] Groups { get; }
}
