namespace OrtQuant.Descriptions;

/// <summary>An input an op declares.</summary>
/// <param name="Name">Name in the contract table, for example <c>scales</c>.</param>
/// <param name="Role">What it is for.</param>
/// <param name="Types">The permitted element types.</param>
/// <param name="Shape">Its shape in words of the contract, for example <c>[T, G, 16]</c>.</param>
/// <param name="Optional">Whether it may be absent.</param>
public sealed record OpInput(string Name, TensorRole Role, IReadOnlyList<ElementType> Types, string Shape, bool Optional = false);

/// <summary>An output an op declares.</summary>
/// <param name="Name">Name in the contract table.</param>
/// <param name="Types">The element types it can have.</param>
/// <param name="Shape">Its shape in words of the contract.</param>
public sealed record OpOutput(string Name, IReadOnlyList<ElementType> Types, string Shape);

/// <summary>What decides which function body stands in for an op on one node.</summary>
/// <param name="Opset">Version of the default ONNX domain that the model imports. A body is inlined into the graph and
/// resolved against the model's version, whatever the function itself imports (ONNX Runtime 1.29).</param>
/// <param name="Inputs">Element type of each input of the node, in the order of <see cref="OpDescription.Inputs"/>;
/// <see langword="null"/> where an optional input is absent, <see cref="ElementType.Undefined"/> where the type is not known
/// (permitted for activations only). Absent trailing inputs may be left out.</param>
/// <param name="Attributes">The attributes of the node.</param>
public sealed record FallbackCall(int Opset, IReadOnlyList<ElementType?> Inputs, IReadOnlyList<OpAttributeValue> Attributes)
{
    /// <summary>Type of input <paramref name="index"/>, <see langword="null"/> when it is absent.</summary>
    public ElementType? Input(int index) => index < Inputs.Count ? Inputs[index] : null;

    /// <summary>Value of an integer attribute.</summary>
    /// <exception cref="ArgumentException">The node has no such attribute.</exception>
    public long Int(string name) => Find(name).AsInt();

    /// <summary>Value of a string attribute.</summary>
    /// <exception cref="ArgumentException">The node has no such attribute.</exception>
    public string Text(string name) => Find(name).AsString();

    private OpAttributeValue Find(string name) => Attributes.FirstOrDefault(attribute => attribute.Name == name)
        ?? throw new ArgumentException($"the node has no attribute '{name}'", nameof(name));
}

/// <summary>A custom operator: the contract both sides (C# and native) keep, without any ONNX type.</summary>
/// <param name="Domain">Operator domain, <c>ortquant</c>.</param>
/// <param name="Name">Operator name.</param>
/// <param name="SinceVersion">Version of the domain that introduced it.</param>
/// <param name="Summary">What it computes, as a formula.</param>
/// <param name="Inputs">Inputs in order.</param>
/// <param name="Outputs">Outputs in order.</param>
/// <param name="Attributes">Attributes, kernels' first, then those of the fallback function.</param>
/// <param name="Fallback">The body that computes the same thing with standard and <c>com.microsoft</c> ops for a node of the
/// given kind; <see langword="null"/> where no body exists (the model's opset is too old, see <paramref name="MinimumFallbackOpset"/>).</param>
/// <param name="MinimumFallbackOpset">Lowest version of the default domain that <paramref name="Fallback"/> can be written in.</param>
public sealed record OpDescription(
    string Domain,
    string Name,
    int SinceVersion,
    string Summary,
    IReadOnlyList<OpInput> Inputs,
    IReadOnlyList<OpOutput> Outputs,
    IReadOnlyList<OpAttributeDescription> Attributes,
    Func<FallbackCall, FunctionBody?> Fallback,
    int MinimumFallbackOpset);
