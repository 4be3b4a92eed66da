using OrtQuant.GraphRewriter.Adapters;
using OrtQuant.GraphRewriter.Calibration;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Quantizers;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Rewriting;

/// <summary>
/// The stored tensors of one packed weight, made when the writer asks for them: the weight is read, quantized, encoded, handed over and
/// let go before the next one begins, so that the peak of memory is that of the largest weight.
/// </summary>
internal sealed class WeightEncoding
{
    private readonly RewriteOptions _options;

    internal WeightEncoding(PackedWeight weight, IWeightScheme scheme, EmittedOps emit, RewriteOptions options)
    {
        Weight = weight;
        Scheme = scheme;
        if (weight.Plan.Algorithm == PlannedWeight.Adopt && weight.Adopted.Count != weight.Parts.Count)
        {
            throw new PlanException($"weight '{weight.Name}' is to be adopted, but is not quantized; choose another algorithm");
        }

        Storage = StorageOf(weight, scheme, emit, weight.Plan.Parameters);
        Tensors = Storage.Tensors;
        Algorithm = weight.Plan.Algorithm;
        _options = options;
    }

    internal PackedWeight Weight { get; }

    internal IWeightScheme Scheme { get; }

    /// <summary>How it is stored.</summary>
    internal WeightStorage Storage { get; }

    /// <summary>The stored tensors, in the order of the op's inputs.</summary>
    internal IReadOnlyList<TensorSpec> Tensors { get; }

    /// <summary>The stored tensors as the graph has them, in the order of <see cref="Tensors"/>.</summary>
    internal IReadOnlyList<GeneratedTensor> Generated { get; set; } = [];

    /// <summary>Name of the algorithm: the plan's, unless that cannot be carried out.</summary>
    internal string Algorithm { get; set; }

    /// <summary>What is known about the inputs, if anything.</summary>
    internal IActivationStatistics? Statistics { get; set; }

    /// <summary>The bytes, where they were made before the model is saved.</summary>
    internal StoredTensors? Stored { get; private set; }

    /// <summary>Relative L2 error of the weight, known once it is written; null for a weight that kept its codes.</summary>
    internal double? RelativeError { get; private set; }

    /// <summary>Called when the weight is being made.</summary>
    internal Action? Started { get; set; }

    /// <summary>Quantizes the weight into the bytes of <see cref="Tensors"/>.</summary>
    internal void Encode(IReadOnlyList<Memory<byte>> destinations, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        Started?.Invoke();
        if (Stored is not null)
        {
            Stored.Read(destinations);
            return;
        }

        if (Weight.Plan.Algorithm == PlannedWeight.Adopt)
        {
            Adopt(destinations);
            return;
        }

        var context = new QuantizerContext(Weight.Name) { Threads = _options.Threads, CancellationToken = cancellation, Statistics = Statistics };
        using var quantized = QuantizerCatalog.Get(Algorithm).Quantize(Weight.Source, Scheme, Weight.Plan.Parameters, context);
        RelativeError = quantized.RelativeError;
        ZeroPointShift.Apply(quantized.Grid, Weight.Changes.Where(change => change.Pool > 1));
        Storage.Encode(quantized.Grid, destinations, context.ThreadCount);
    }

    /// <summary>Quantizes the weight now; what is saved later are these bytes.</summary>
    /// <param name="store">Where they wait.</param>
    /// <param name="cancellation">Stops the work.</param>
    internal void StoreIn(EncodedStore store, CancellationToken cancellation)
    {
        if (Stored is not null) return;
        using var produced = new ProducedTensors(Generated);
        Encode(produced.Data, cancellation);
        Stored = store.Write([.. produced.Data.Select(data => (ReadOnlyMemory<byte>)data)]);
    }

    // Codes, scales and zero points as they are, in other places.
    private void Adopt(IReadOnlyList<Memory<byte>> destinations)
    {
        var threads = _options.Threads > 0 ? _options.Threads : Environment.ProcessorCount;
        using var grid = (IAffineGrid)Scheme.CreateGrid(Weight.Shape, Weight.Plan.Parameters);
        var row = 0L;
        foreach (var part in Weight.Adopted)
        {
            part.Fill(grid, row, threads);
            row += part.Shape.N;
        }

        ZeroPointShift.Apply(grid, Weight.Changes.Where(change => change.Pool > 1));
        Storage.Encode(grid, destinations, threads);
    }

    /// <summary>How a weight is stored with given parameters.</summary>
    internal static WeightStorage StorageOf(PackedWeight weight, IWeightScheme scheme, EmittedOps emit, SchemeParameters parameters)
    {
        var (shape, level) = (weight.Shape, weight.Plan.AccuracyLevel);
        if (emit == EmittedOps.OrtQuant) return WeightStorage.Of(scheme, shape, parameters, level, weight.Type);
        if (MicrosoftStorage.Obstacle(shape, parameters, weight.Tables.Count > 0) is { } reason) throw new PlanException($"weight '{weight.Name}': {reason}");
        return new MicrosoftStorage(shape, (Schemes.Group.GroupParameters)parameters, level, weight.Type);
    }
}
