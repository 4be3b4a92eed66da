using Microsoft.ML.OnnxRuntime;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Comparison;

/// <summary>One run of both models, and their outputs. Owns inputs and outputs.</summary>
internal sealed class ComparisonStep : IDisposable
{
    private const int Chunk = 1 << 16;

    /// <summary>Runs both models.</summary>
    public ComparisonStep(
        InferenceSession reference, InferenceSession model, IReadOnlyDictionary<string, OrtValue> referenceInputs,
        IReadOnlyDictionary<string, OrtValue> modelInputs, CancellationToken cancellation)
    {
        Expected = Run(reference, referenceInputs, cancellation);
        Actual = Run(model, modelInputs, cancellation);
    }

    /// <summary>Outputs of the reference by name.</summary>
    public IReadOnlyDictionary<string, OrtValue> Expected { get; }

    /// <summary>Outputs of the model by name.</summary>
    public IReadOnlyDictionary<string, OrtValue> Actual { get; }

    /// <summary>Measures every output.</summary>
    /// <param name="step">Names the step in <paramref name="differences"/>.</param>
    /// <param name="signature">Lists the outputs and tells which holds the logits.</param>
    /// <param name="differences">Receives a row an output.</param>
    /// <param name="distributions">Takes in the logits; null when there are none.</param>
    /// <exception cref="RunningException">Shapes differ.</exception>
    public void Measure(string step, ModelSignature signature, List<OutputDifference> differences, DistributionMeter? distributions)
    {
        foreach (var output in signature.Outputs)
        {
            var meter = Compare(output.Name, Expected[output.Name], Actual[output.Name]);
            differences.Add(new OutputDifference(output.Name, step, meter.MaxAbs, meter.RelativeL2, meter.Cosine));
        }

        if (signature.Logits is { } logits && distributions is not null)
        {
            distributions.Add(new Logits(Expected[logits.Name]), new Logits(Actual[logits.Name]));
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var value in Expected.Values.Concat(Actual.Values))
        {
            value.Dispose();
        }
    }

    private static Dictionary<string, OrtValue> Run(InferenceSession session, IReadOnlyDictionary<string, OrtValue> inputs, CancellationToken cancellation)
    {
        using var options = new RunOptions();
        using var registration = cancellation.Register(() => options.Terminate = true);
        // Float types of a rewritten model may differ from the reference's.
        var fed = session.InputNames.ToDictionary(name => name, name => WithType(inputs[name], session.InputMetadata[name]));
        try
        {
            var outputs = session.Run(options, fed.Keys, fed.Values, session.OutputNames);
            return session.OutputNames.Zip(outputs).ToDictionary(pair => pair.First, pair => pair.Second);
        }
        catch (OnnxRuntimeException exception)
        {
            cancellation.ThrowIfCancellationRequested();
            throw new RunningException($"ONNX Runtime cannot run the model: {exception.Message}", exception);
        }
        finally
        {
            foreach (var value in fed.Values.Concat(inputs.Values).Distinct())
            {
                value.Dispose();
            }
        }
    }

    private static OrtValue WithType(OrtValue value, NodeMetadata input) =>
        value.GetTensorTypeAndShape().ElementDataType == input.ElementDataType ? value : Elements.Convert(value, input.ElementDataType);

    /// <summary>How far one output is from another.</summary>
    internal static DifferenceMeter Compare(string name, OrtValue expected, OrtValue actual)
    {
        var (e, a) = (expected.GetTensorTypeAndShape(), actual.GetTensorTypeAndShape());
        if (!e.Shape.SequenceEqual(a.Shape))
        {
            throw new RunningException($"output '{name}' has shape [{string.Join(", ", a.Shape)}], that of the reference [{string.Join(", ", e.Shape)}]");
        }

        var meter = new DifferenceMeter();
        if (e.ElementCount == 0)
        {
            return meter;
        }

        var expectedBytes = expected.GetTensorMutableRawData();
        var actualBytes = actual.GetTensorMutableRawData();
        var (expectedSize, actualSize) = (Elements.SizeOf(e.ElementDataType), Elements.SizeOf(a.ElementDataType));
        var (x, y) = (new float[Chunk], new float[Chunk]);
        for (long offset = 0; offset < e.ElementCount; offset += Chunk)
        {
            var count = (int)Math.Min(Chunk, e.ElementCount - offset);
            Elements.ToSingle(expectedBytes.Slice((int)offset * expectedSize, count * expectedSize), e.ElementDataType, x);
            Elements.ToSingle(actualBytes.Slice((int)offset * actualSize, count * actualSize), a.ElementDataType, y);
            meter.Add(x.AsSpan(0, count), y.AsSpan(0, count));
        }

        return meter;
    }
}
