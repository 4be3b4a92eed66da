using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Quantizers;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Rewriting;

/// <summary>
/// The stored tensors of one packed weight, made when the writer asks for them: the weight is read, quantized, encoded, handed over and
/// let go before the next one begins, so that the peak of memory is that of the largest weight.
/// </summary>
internal sealed class WeightEncoding
{
    private readonly RewriteOptions _options;

    internal WeightEncoding(PackedWeight weight, IWeightScheme scheme, RewriteOptions options)
    {
        Weight = weight;
        Scheme = scheme;
        Tensors = scheme.Tensors(weight.Shape, weight.Plan.Parameters);
        _options = options;
    }

    internal PackedWeight Weight { get; }

    internal IWeightScheme Scheme { get; }

    /// <summary>The stored tensors, in the order of the op's inputs.</summary>
    internal IReadOnlyList<TensorSpec> Tensors { get; }

    /// <summary>Relative L2 error of the weight, known once it is written; null for a weight that kept its codes.</summary>
    internal double? RelativeError { get; private set; }

    /// <summary>Called when the weight is being made.</summary>
    internal Action? Started { get; set; }

    /// <summary>Quantizes the weight into the bytes of <see cref="Tensors"/>.</summary>
    internal void Encode(IReadOnlyList<Memory<byte>> destinations, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        Started?.Invoke();
        var context = new QuantizerContext(Weight.Name) { Threads = _options.Threads, CancellationToken = cancellation };
        using var quantized = QuantizerCatalog.Get(Weight.Plan.Algorithm).Quantize(Weight.Source, Scheme, Weight.Plan.Parameters, context);
        RelativeError = quantized.RelativeError;
        Scheme.Encode(quantized.Grid, destinations, context.ThreadCount);
    }
}
