namespace OrtQuant.Schemes;

/// <summary>Checks that every scheme makes of what it is given.</summary>
internal static class SchemeArguments
{
    /// <summary>Requires stored tensors of the lengths that their specifications give.</summary>
    /// <param name="specs">The tensors of a weight.</param>
    /// <param name="parameters">Parameters of the scheme, for the message.</param>
    /// <param name="lengths">Bytes of each tensor given.</param>
    /// <exception cref="OrtQuantException">There are more or fewer tensors, or one has another length.</exception>
    public static void CheckLengths(IReadOnlyList<TensorSpec> specs, SchemeParameters parameters, IEnumerable<int> lengths)
    {
        int[] given = [.. lengths];
        if (given.Length != specs.Count)
        {
            throw new OrtQuantException($"there are {given.Length} tensors; {parameters} has {specs.Count}");
        }

        foreach (var (spec, length) in specs.Zip(given))
        {
            if (length != spec.ByteLength)
            {
                throw new OrtQuantException($"{spec.Input} has {length} bytes; {spec} has {spec.ByteLength}");
            }
        }
    }

    /// <summary>Requires rows that the weight has, and a destination of their size.</summary>
    /// <param name="shape">Shape of the weight.</param>
    /// <param name="n0">First row.</param>
    /// <param name="count">Number of rows.</param>
    /// <param name="rows">Destination <c>[count, K]</c>.</param>
    /// <exception cref="ArgumentException">The weight has no such rows, or the destination has another length.</exception>
    public static void CheckRows(WeightShape shape, long n0, int count, ReadOnlySpan<float> rows)
    {
        if (n0 < 0 || count < 0 || n0 + count > shape.N)
        {
            throw new ArgumentOutOfRangeException(nameof(n0), $"rows {n0} to {n0 + count - 1} of a weight of shape {shape}");
        }

        if (rows.Length != count * shape.K)
        {
            throw new ArgumentException($"length is {rows.Length}; it must be {count * shape.K}", nameof(rows));
        }
    }
}
