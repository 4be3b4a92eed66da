using OrtQuant.Descriptions;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Rewriting;

/// <summary>How one packed weight is stored, and which ops read it.</summary>
internal abstract class WeightStorage
{
    /// <summary>The op that multiplies by it.</summary>
    internal abstract OpDescription Op { get; }

    /// <summary>The op that gathers its rows; null where there is none.</summary>
    internal abstract OpDescription? GatherOp { get; }

    /// <summary>The stored tensors, named as inputs of <see cref="Op"/>.</summary>
    internal abstract IReadOnlyList<TensorSpec> Tensors { get; }

    /// <summary>Attributes of a node of <see cref="Op"/>.</summary>
    internal abstract IReadOnlyList<OpAttributeValue> Attributes { get; }

    /// <summary>Attributes of a node of <see cref="GatherOp"/>.</summary>
    internal abstract IReadOnlyList<OpAttributeValue> GatherAttributes { get; }

    /// <summary>Shape in which <see cref="GatherOp"/> takes the codes, where it differs from that of the tensor.</summary>
    internal virtual IReadOnlyList<long>? GatherShape => null;

    /// <summary>Writes the tensors.</summary>
    internal abstract void Encode(IWeightGrid grid, IReadOnlyList<Memory<byte>> destinations, int threads);

    /// <summary>The layout of a scheme, read by its own ops.</summary>
    /// <param name="scheme">The scheme.</param>
    /// <param name="shape">Shape of the weight.</param>
    /// <param name="parameters">Parameters of the scheme.</param>
    /// <param name="accuracyLevel">Accuracy level of the op.</param>
    /// <param name="type">Type of X and Y.</param>
    internal static WeightStorage Of(IWeightScheme scheme, WeightShape shape, SchemeParameters parameters, int accuracyLevel, ElementType type) =>
        new SchemeStorage(scheme, shape, parameters, accuracyLevel, type);

    private sealed class SchemeStorage(IWeightScheme scheme, WeightShape shape, SchemeParameters parameters, int accuracyLevel, ElementType type) : WeightStorage
    {
        internal override OpDescription Op => scheme.Op;

        internal override OpDescription? GatherOp => scheme.GatherOp;

        internal override IReadOnlyList<TensorSpec> Tensors => scheme.Tensors(shape, parameters);

        internal override IReadOnlyList<OpAttributeValue> Attributes => scheme.Attributes(shape, parameters, accuracyLevel);

        internal override IReadOnlyList<OpAttributeValue> GatherAttributes => scheme.GatherAttributes(shape, parameters, type);

        internal override void Encode(IWeightGrid grid, IReadOnlyList<Memory<byte>> destinations, int threads) =>
            scheme.Encode(grid, destinations, threads);
    }
}
