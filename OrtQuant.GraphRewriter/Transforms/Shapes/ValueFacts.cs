using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Transforms.Shapes;

/// <summary>The numbers in a small tensor of whole numbers or truth values, row-major; null where one is not known.</summary>
internal sealed record Content(ElementType Type, IReadOnlyList<SymbolicSize?> Elements)
{
    /// <summary>Tensors of more elements are no shapes.</summary>
    internal const int Most = 64;

    /// <summary>Every element is known, if only as an expression.</summary>
    internal bool IsComplete => Elements.All(element => element is not null);

    /// <summary>Every element is a number.</summary>
    internal bool IsConstant => Elements.All(element => element?.Value is not null);

    /// <summary>The numbers, where all are known.</summary>
    internal long[]? Numbers => IsConstant ? [.. Elements.Select(element => element!.Value!.Value)] : null;

    internal static bool CanHold(ElementType type) => type is ElementType.Int64 or ElementType.Int32 or ElementType.Bool;

    /// <summary>The content of a constant; null where it is no small tensor of whole numbers.</summary>
    internal static Content? Of(LazyTensor tensor)
    {
        if (!CanHold(tensor.Type) || tensor.Shape.Count > 1 || tensor.Count > Most) return null;
        var values = tensor.Type == ElementType.Bool ? Array.ConvertAll(tensor.ReadBytes(), value => value == 0 ? 0L : 1L) : tensor.ReadInt64s();
        return new Content(tensor.Type, [.. values.Select(SymbolicSize.Of)]);
    }

    /// <summary>The constant that holds these numbers.</summary>
    internal LazyTensor ToTensor(IReadOnlyList<long> shape)
    {
        var numbers = Numbers ?? throw new InvalidOperationException("not every element is a number");
        return Type switch
        {
            ElementType.Bool => LazyTensor.FromBytes(Type, shape, Array.ConvertAll(numbers, number => (byte)number)),
            ElementType.Int32 => LazyTensor.FromBytes(Type, shape, numbers.SelectMany(number => BitConverter.GetBytes(checked((int)number))).ToArray()),
            _ => LazyTensor.FromInt64s(shape, numbers),
        };
    }
}

/// <summary>What is known of a value before the model runs.</summary>
/// <param name="Shape">Its dimensions; null where not even their number is known.</param>
/// <param name="Content">Its elements, where it is a small tensor of whole numbers.</param>
internal sealed record ValueFacts(IReadOnlyList<SymbolicSize>? Shape, Content? Content = null)
{
    internal static ValueFacts Nothing { get; } = new(null, null);
}
