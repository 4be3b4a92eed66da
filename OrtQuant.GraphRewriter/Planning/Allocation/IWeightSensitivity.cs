namespace OrtQuant.GraphRewriter.Planning.Allocation;

/// <summary>How much the model's predictions suffer from an error in a weight. The one thing an allocation needs beside sizes and errors.</summary>
internal interface IWeightSensitivity
{
    /// <summary>What the losses are, for the reader of the plan.</summary>
    string Unit { get; }

    /// <summary>
    /// The loss that each unit adds for each unit of its relative squared error (<see cref="AllocationCandidate.Error"/>), taken as proportional:
    /// an error of its own adds no more than that to those of other units.
    /// </summary>
    /// <param name="units">The units, with the errors of their candidates.</param>
    /// <param name="progress">Told units done and in all.</param>
    /// <param name="cancellation">Ends the work with an exception.</param>
    /// <returns>One number a unit, none negative.</returns>
    IReadOnlyList<double> Measure(IReadOnlyList<AllocationUnit> units, IProgress<(int Done, int Total)>? progress, CancellationToken cancellation);
}
