using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Calibration;

/// <summary>
/// Batches of tokens on their way through a graph, segment by segment: what is kept of each batch are the values that are alive where the last
/// segment ended.
/// </summary>
internal sealed class ActivationStream : IDisposable
{
    private readonly IReadOnlyList<TokenBatch> _batches;
    private readonly Dictionary<string, OrtValue>[] _alive;
    private readonly SubgraphExtractor _extractor;
    private readonly SessionSettings _settings;
    private readonly Func<GeneratedTensor, byte[]> _generated;
    private readonly string _model;
    private InferenceSession? _session;
    private Subgraph? _subgraph;
    private Segment? _segment;

    /// <summary>Begins at the inputs of a graph.</summary>
    /// <param name="model">The graph; its generated tensors are asked for as segments need them.</param>
    /// <param name="batches">The tokens; shared with other streams.</param>
    /// <param name="settings">How sessions are opened.</param>
    /// <param name="generated">Makes the bytes of a generated tensor.</param>
    internal ActivationStream(OnnxModel model, IReadOnlyList<TokenBatch> batches, SessionSettings settings, Func<GeneratedTensor, byte[]> generated)
    {
        (_batches, _generated) = (batches, generated);
        _model = Path.GetFileName(model.Path ?? "the model");
        _extractor = new SubgraphExtractor(model);
        _settings = settings with { UseArena = false };
        _alive = [.. batches.Select(_ => new Dictionary<string, OrtValue>())];
    }

    /// <summary>Opens the session of the next segment.</summary>
    /// <param name="segment">The segment.</param>
    /// <param name="source">Whose graph to take it from; null for the stream's own.</param>
    /// <exception cref="RunningException">ONNX Runtime cannot open it.</exception>
    internal void Open(Segment segment, ActivationStream? source = null)
    {
        var (extractor, generated) = source is null ? (_extractor, _generated) : (source._extractor, source._generated);
        _session?.Dispose();
        _session = null;
        _segment = segment;
        var known = _alive.Length == 0 ? [] : _alive[0].Keys.ToDictionary(name => name, Describe);
        _subgraph = extractor.Extract(segment.Carried.Concat(segment.Inputs.Select(input => input.Name)), known.GetValueOrDefault, generated);
        if (_subgraph.Outputs.Count == 0) return;
        var bytes = _subgraph.Model.ToByteArray();
        _session = extractor.DataFolder is { } folder
            ? SessionFactory.Open(Path.Combine(folder, _model), _settings with { Graph = bytes })
            : SessionFactory.Open(bytes, _model, _settings with { Graph = null });
    }

    /// <summary>Takes one batch through the open segment.</summary>
    /// <param name="batch">Number of the batch.</param>
    /// <param name="inspect">Given the values of the segment's inputs of linears, by name.</param>
    /// <param name="cancellation">Ends the run with an exception.</param>
    /// <exception cref="RunningException">ONNX Runtime cannot run it.</exception>
    internal void Run(int batch, Action<IReadOnlyDictionary<string, OrtValue>> inspect, CancellationToken cancellation)
    {
        var alive = _alive[batch];
        var computed = new Dictionary<string, OrtValue>(alive);
        try
        {
            if (_session is not null) Compute(_batches[batch], alive, computed, cancellation);
            inspect(computed);
            _alive[batch] = _segment!.Carried.Where(computed.ContainsKey).ToDictionary(name => name, name => computed[name]);
        }
        finally
        {
            var kept = _alive[batch].Values.ToHashSet();
            foreach (var value in computed.Values.Where(value => !kept.Contains(value))) value.Dispose();
        }
    }

    public void Dispose()
    {
        _session?.Dispose();
        foreach (var value in _alive.SelectMany(values => values.Values)) value.Dispose();
    }

    private void Compute(TokenBatch tokens, Dictionary<string, OrtValue> alive, Dictionary<string, OrtValue> computed, CancellationToken cancellation)
    {
        using var options = new RunOptions();
        using var registration = cancellation.Register(() => options.Terminate = true);
        string[] names = [.. _subgraph!.GraphInputs, .. _subgraph.Given];
        OrtValue[] values = [.. _subgraph.GraphInputs.Select(name => tokens[name]), .. _subgraph.Given.Select(name => alive[name])];
        try
        {
            var outputs = _session!.Run(options, names, values, _subgraph.Outputs);
            for (var i = 0; i < outputs.Count; i++) computed[_subgraph.Outputs[i]] = outputs[i];
        }
        catch (OnnxRuntimeException exception)
        {
            cancellation.ThrowIfCancellationRequested();
            throw new RunningException($"ONNX Runtime cannot run a part of {_model}: {exception.Message}", exception);
        }

        cancellation.ThrowIfCancellationRequested();
    }

    // A size that all batches share is one that the part of the graph can rely on.
    private GivenValue Describe(string name)
    {
        var shapes = _alive.Select(values => Elements.Shape(values[name])).ToList();
        var type = _alive[0][name].GetTensorTypeAndShape().ElementDataType;
        return new GivenValue(name, ElementOf(type), [.. shapes[0].Select((size, axis) => shapes.TrueForAll(shape => shape[axis] == size) ? size : -1)]);
    }

    // ONNX and ONNX Runtime number element types alike.
    private static int ElementOf(TensorElementType type) => (int)type;
}
