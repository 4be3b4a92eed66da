using OrtQuant.Descriptions;

namespace OrtQuant.Schemes;

/// <summary>One stored tensor of an encoded weight: an initializer of the rewritten graph.</summary>
/// <param name="Input">Name of the op input that it feeds, as in <see cref="OpDescription"/>.</param>
/// <param name="Type">Element type.</param>
/// <param name="Shape">Dimensions, row-major.</param>
public sealed record TensorSpec(string Input, ElementType Type, IReadOnlyList<long> Shape)
{
    /// <summary>Number of elements.</summary>
    /// <exception cref="OverflowException">The product does not fit 64 bits.</exception>
    public long Count => Shape.Aggregate(1L, (product, dimension) => checked(product * dimension));

    /// <summary>Size of the data in bytes.</summary>
    /// <exception cref="OverflowException">The size does not fit 64 bits.</exception>
    public long ByteLength => Type.ByteLength(Count);

    /// <inheritdoc/>
    public bool Equals(TensorSpec? other) =>
        other is not null && Input == other.Input && Type == other.Type && Shape.SequenceEqual(other.Shape);

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        var hash = new HashCode();
        hash.Add(Input);
        hash.Add(Type);
        foreach (var dimension in Shape)
        {
            hash.Add(dimension);
        }

        return hash.ToHashCode();
    }

    /// <summary>For example <c>scales: Float16 [36, 18, 16]</c>.</summary>
    public override string ToString() => $"{Input}: {Type} [{string.Join(", ", Shape)}]";
}
