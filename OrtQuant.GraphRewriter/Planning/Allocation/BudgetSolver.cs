namespace OrtQuant.GraphRewriter.Planning.Allocation;

/// <summary>One way to store a unit.</summary>
/// <param name="Bytes">Bytes stored.</param>
/// <param name="Loss">What it costs in quality; smaller is better.</param>
internal readonly record struct AllocationOption(long Bytes, double Loss);

/// <summary>
/// Chooses one option of every unit so that the sum of the losses is least while the bytes stay within a budget. A dynamic program over the
/// units: what is kept of the units so far is every combination that no other beats in bytes and loss, thinned to a few thousand where there
/// are more. Exact as long as nothing is thinned; after that every combination kept is still a best one at its size. The frontier does not depend on the budget, so a larger budget never gives a
/// larger loss.
/// </summary>
internal sealed class BudgetSolver
{
    private const int MostCells = 4096;

    private readonly record struct State(long Bytes, double Loss, int Previous, int Option);

    private readonly List<State[]> _frontiers = [];
    private readonly IReadOnlyList<IReadOnlyList<AllocationOption>> _units;

    /// <summary>Prepares all best combinations.</summary>
    /// <param name="units">The options of each unit; at least one each, losses finite and not negative.</param>
    /// <param name="cells">Combinations are thinned to twice as many.</param>
    internal BudgetSolver(IReadOnlyList<IReadOnlyList<AllocationOption>> units, int cells = MostCells)
    {
        _units = units;
        State[] frontier = [new State(0, 0, -1, -1)];
        foreach (var options in units)
        {
            frontier = Thin(Best(Combine(frontier, options)), cells);
            _frontiers.Add(frontier);
        }
    }

    /// <summary>Bytes of the smallest choice.</summary>
    internal long LeastBytes => _units.Sum(options => options.Min(option => option.Bytes));

    /// <summary>Bytes of the largest choice.</summary>
    internal long MostBytes => _units.Sum(options => options.Max(option => option.Bytes));

    /// <summary>Chooses.</summary>
    /// <param name="budget">Most bytes in all.</param>
    /// <returns>The index of each unit's option; null where even the smallest choice is larger than the budget.</returns>
    internal int[]? Choose(long budget)
    {
        var choice = new int[_units.Count];
        if (choice.Length == 0) return choice;

        // In order of bytes, and losses fall: the last that fits is the best.
        var at = Array.FindLastIndex(_frontiers[^1], state => state.Bytes <= budget);
        if (at < 0) return null;
        for (var unit = choice.Length - 1; unit >= 0; unit--)
        {
            var state = _frontiers[unit][at];
            (choice[unit], at) = (state.Option, state.Previous);
        }

        return choice;
    }

    private static State[] Combine(State[] frontier, IReadOnlyList<AllocationOption> options)
    {
        var all = new State[frontier.Length * options.Count];
        var count = 0;
        for (var option = 0; option < options.Count; option++)
        {
            for (var i = 0; i < frontier.Length; i++)
            {
                all[count++] = new State(frontier[i].Bytes + options[option].Bytes, frontier[i].Loss + options[option].Loss, i, option);
            }
        }

        return all;
    }

    /// <summary>What no other beats, in order of bytes. Of equals the first option of the first combination: the same on every machine.</summary>
    private static State[] Best(State[] all)
    {
        Array.Sort(all, static (a, b) =>
            a.Bytes != b.Bytes ? a.Bytes.CompareTo(b.Bytes)
            : a.Loss != b.Loss ? a.Loss.CompareTo(b.Loss)
            : a.Option != b.Option ? a.Option.CompareTo(b.Option)
            : a.Previous.CompareTo(b.Previous));
        var best = new List<State>();
        foreach (var state in all)
        {
            if (best.Count == 0 || state.Loss < best[^1].Loss) best.Add(state);
        }

        return [.. best];
    }

    /// <summary>Of each of many ranges of bytes the first and the last, so that the smallest and the best always stay.</summary>
    private static State[] Thin(State[] frontier, int cells)
    {
        if (frontier.Length <= 2 * cells) return frontier;
        var (low, width) = (frontier[0].Bytes, (double)(frontier[^1].Bytes - frontier[0].Bytes) / cells);
        var kept = new List<State>();
        for (var i = 0; i < frontier.Length; i++)
        {
            var isFirst = i == 0 || Cell(i) != Cell(i - 1);
            var isLast = i == frontier.Length - 1 || Cell(i) != Cell(i + 1);
            if (isFirst || isLast) kept.Add(frontier[i]);
        }

        return [.. kept];

        int Cell(int i) => (int)((frontier[i].Bytes - low) / width);
    }
}
