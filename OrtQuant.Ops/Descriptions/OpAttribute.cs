using System.Collections.Immutable;

namespace OrtQuant.Descriptions;

/// <summary>Kind of an attribute's value. The numbers are those of <c>onnx.AttributeProto.AttributeType</c>.</summary>
public enum AttributeKind
{
    /// <summary>A binary32 number.</summary>
    Float = 1,

    /// <summary>A 64-bit integer.</summary>
    Int = 2,

    /// <summary>UTF-8 text.</summary>
    String = 3,

    /// <summary>A list of 64-bit integers.</summary>
    Ints = 7,
}

/// <summary>An attribute an op declares.</summary>
/// <param name="Name">Its name, as in <c>com.microsoft</c> where that domain has the same attribute.</param>
/// <param name="Kind">Its kind.</param>
/// <param name="Summary">What it says and which values are permitted, in one sentence.</param>
/// <param name="Required">Whether the kernel rejects a node without it.</param>
/// <param name="FallbackOnly">Whether only the fallback function reads it; kernels ignore it.</param>
public sealed record OpAttributeDescription(
    string Name, AttributeKind Kind, string Summary, bool Required = true, bool FallbackOnly = false);

/// <summary>An attribute with its value, as it stands on a node.</summary>
public sealed record OpAttributeValue
{
    private OpAttributeValue(string name, AttributeKind kind, object value) => (Name, Kind, Value) = (name, kind, value);

    /// <summary>Name of the attribute.</summary>
    public string Name { get; }

    /// <summary>Kind of <see cref="Value"/>.</summary>
    public AttributeKind Kind { get; }

    /// <summary>A <see cref="long"/>, <see cref="float"/>, <see cref="string"/> or <see cref="ImmutableArray{T}"/> of <see cref="long"/>, as <see cref="Kind"/> says.</summary>
    public object Value { get; }

    /// <summary>An integer attribute.</summary>
    public static OpAttributeValue Int(string name, long value) => new(name, AttributeKind.Int, value);

    /// <summary>A list-of-integers attribute.</summary>
    public static OpAttributeValue Ints(string name, params ReadOnlySpan<long> values) => new(name, AttributeKind.Ints, ImmutableArray.Create(values));

    /// <summary>A float attribute.</summary>
    public static OpAttributeValue Float(string name, float value) => new(name, AttributeKind.Float, value);

    /// <summary>A string attribute.</summary>
    public static OpAttributeValue String(string name, string value) => new(name, AttributeKind.String, value);

    /// <summary>The value of an integer attribute.</summary>
    /// <exception cref="InvalidOperationException">The attribute is of another kind.</exception>
    public long AsInt() => Value as long? ?? throw WrongKind(AttributeKind.Int);

    /// <summary>The value of a float attribute.</summary>
    /// <exception cref="InvalidOperationException">The attribute is of another kind.</exception>
    public float AsFloat() => Value as float? ?? throw WrongKind(AttributeKind.Float);

    /// <summary>The value of a string attribute.</summary>
    /// <exception cref="InvalidOperationException">The attribute is of another kind.</exception>
    public string AsString() => Value as string ?? throw WrongKind(AttributeKind.String);

    /// <summary>The values of a list-of-integers attribute.</summary>
    /// <exception cref="InvalidOperationException">The attribute is of another kind.</exception>
    public ImmutableArray<long> AsInts() => Value as ImmutableArray<long>? ?? throw WrongKind(AttributeKind.Ints);

    private InvalidOperationException WrongKind(AttributeKind wanted) =>
        new($"Attribute '{Name}' is of kind {Kind}, not {wanted}.");
}
