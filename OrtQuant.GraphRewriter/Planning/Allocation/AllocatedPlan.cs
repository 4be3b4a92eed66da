using OrtQuant.GraphRewriter.Calibration;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Planning.Allocation;

/// <summary>Where the sensitivities of an allocation come from.</summary>
public enum SensitivitySource
{
    /// <summary>From the weights alone, in seconds.</summary>
    Weights,

    /// <summary>Measured: the model is run once for every weight.</summary>
    Measured,
}

/// <summary>How bits are given out.</summary>
/// <param name="Budget">How much there is.</param>
/// <param name="Sensitivity">How it is found out where they matter.</param>
public sealed record AllocationOptions(BitBudget Budget, SensitivitySource Sensitivity)
{
    /// <summary>Text to measure on; null: the model writes its own.</summary>
    public IReadOnlyList<long[]>? Sequences { get; init; }

    /// <summary>What is known of the inputs of weights: errors count by it. Null: nothing.</summary>
    public StatisticsFile? Statistics { get; init; }
}

/// <summary>Plans in which every weight has its own bits and group size.</summary>
public static class AllocatedPlan
{
    /// <summary>Plans the rewrite of a model within a budget.</summary>
    /// <param name="model">The model; it is not changed.</param>
    /// <param name="options">What the user asks for; <see cref="PlanOptions.Bits"/> is not looked at, a group size given counts for all.</param>
    /// <param name="allocation">The budget, and how it is given out.</param>
    /// <param name="progress">Told stages, and units done and in all.</param>
    /// <param name="cancellation">Ends the work with an exception.</param>
    /// <exception cref="PlanException">Nothing fits the budget, or an option cannot be.</exception>
    /// <exception cref="RunningException">Sensitivities are to be measured and the model cannot be run as a language model.</exception>
    public static QuantizationPlan Create(
        OnnxModel model, PlanOptions options, AllocationOptions allocation, IProgress<(string Stage, int Done, int Total)>? progress = null, CancellationToken cancellation = default)
    {
        var plan = QuantizationPlan.Create(model, options with { Bits = null }, cancellation);
        var allocator = new BitAllocator(model, plan, options, weight => allocation.Statistics?.Find(weight.Name, weight.Shape.K), Stage("trying bits"), cancellation);
        if (allocator.Units.Count == 0) throw new PlanException("there are no weights to give bits to: none is packed");
        IWeightSensitivity sensitivity = allocation.Sensitivity == SensitivitySource.Measured
            ? new MeasuredSensitivity(model, plan, allocation.Sequences, allocator.Errors, options.Threads)
            : new WeightErrorSensitivity();
        return allocator.Choose(allocation.Budget, sensitivity.Measure(allocator.Units, Stage("measuring sensitivities"), cancellation), sensitivity.Unit);

        Relay Stage(string name) => new(name, progress);
    }

    private sealed class Relay(string stage, IProgress<(string, int, int)>? progress) : IProgress<(int Done, int Total)>
    {
        public void Report((int Done, int Total) value) => progress?.Report((stage, value.Done, value.Total));
    }
}
