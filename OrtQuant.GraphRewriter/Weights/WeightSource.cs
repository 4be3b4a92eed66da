using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Weights;

/// <summary>Checks and conveniences that every <see cref="IWeightSource"/> shares.</summary>
public static class WeightSource
{
    /// <summary>Throws unless a read is inside the weight and its destination has the right length.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The rows are outside the weight.</exception>
    /// <exception cref="ArgumentException">The destination has another length than <c>count * K</c>.</exception>
    public static void CheckRead(WeightShape shape, long n0, int count, int length)
    {
        if (n0 < 0 || count < 0 || n0 > shape.N - count)
        {
            throw new ArgumentOutOfRangeException(nameof(n0), $"rows {n0} to {n0 + count - 1} of a weight of shape {shape}");
        }

        if (length != count * shape.K)
        {
            throw new ArgumentException($"length is {length}; it must be {count * shape.K}", nameof(length));
        }
    }

    /// <summary>Reads the whole weight into a new array <c>[N, K]</c>: for small weights.</summary>
    public static float[] ReadAll(this IWeightSource source)
    {
        var values = new float[checked((int)source.Shape.Count)];
        source.ReadRows(0, (int)source.Shape.N, values);
        return values;
    }
}
