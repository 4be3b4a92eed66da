using Microsoft.ML.OnnxRuntime;

namespace OrtQuant.GraphRewriter.Running;

/// <summary>
/// Sequences being decoded: their KV cache and length. The cache never leaves ONNX Runtime's memory: what one run returned is what the
/// next run reads; where the model allows it, past and present are one buffer that runs write in place.
/// </summary>
public sealed class DecodingState : IDisposable
{
    private readonly LanguageModel _model;
    private readonly OrtIoBinding _binding;
    private readonly OrtValue[] _cache;
    private readonly bool _shared;
    private readonly int _batch;

    internal DecodingState(LanguageModel model, int batch, int capacity, bool shareBuffer)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(batch, 1);
        _model = model;
        _batch = batch;
        Capacity = capacity;
        _shared = shareBuffer;
        _cache = [.. model.Signature.Cache.Select(pair => Elements.Allocate(pair.Past.Type, CacheShape(pair, _shared ? capacity : 0)))];
        _binding = model.Session.CreateIoBinding();
        for (var i = 0; i < _cache.Length; i++)
        {
            _binding.BindInput(model.Signature.Cache[i].Past.Name, _cache[i]);
        }
    }

    /// <summary>Positions decoded so far.</summary>
    public int Length { get; private set; }

    /// <summary>Most positions there is room for.</summary>
    public int Capacity { get; }

    /// <summary>Decodes the next tokens of every sequence.</summary>
    /// <param name="ids">Token ids [batch, count], row-major.</param>
    /// <param name="cancellation">Ends the run early.</param>
    /// <returns>Scores of the tokens that follow each of them, [batch * count, vocabulary].</returns>
    /// <exception cref="RunningException">More tokens than <see cref="Capacity"/>, or the model fails.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; the state cannot be used any more.</exception>
    public Logits Append(ReadOnlySpan<long> ids, CancellationToken cancellation = default)
    {
        var count = ids.Length / _batch;
        var total = Length + count;
        if (count == 0 || total > Capacity)
        {
            throw new RunningException($"{count} tokens after {Length} do not fit a sequence of 1 to {Capacity}");
        }

        var signature = _model.Signature;
        using var inputIds = Elements.Integers(signature.InputIds!.Type, ids, _batch, count);
        using var mask = signature.AttentionMask is { } maskInput ? Ones(maskInput, total) : null;
        using var positions = signature.PositionIds is { } positionInput ? Positions(positionInput, count) : null;
        _binding.BindInput(signature.InputIds.Name, inputIds);
        BindIfPresent(signature.AttentionMask, mask);
        BindIfPresent(signature.PositionIds, positions);
        BindOutputs();
        var logits = Run(cancellation);
        Length = total;
        return logits;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _binding.Dispose();
        foreach (var tensor in _cache)
        {
            tensor.Dispose();
        }
    }

    private Logits Run(CancellationToken cancellation)
    {
        using var options = new RunOptions();
        using var registration = cancellation.Register(() => options.Terminate = true);
        try
        {
            _model.Session.RunWithBinding(options, _binding);
        }
        catch (OnnxRuntimeException exception)
        {
            cancellation.ThrowIfCancellationRequested();
            throw new RunningException($"ONNX Runtime cannot run {Path.GetFileName(_model.File)}: {exception.Message}", exception);
        }

        cancellation.ThrowIfCancellationRequested();
        var outputs = _binding.GetOutputValues().ToArray();
        for (var i = 0; i < _cache.Length; i++)
        {
            KeepCache(i, outputs[i + 1]);
        }

        return new Logits(outputs[0]);
    }

    // Outputs keep what the last run put there, so those that ONNX Runtime allocates are bound anew for every run.
    private void BindOutputs()
    {
        var signature = _model.Signature;
        _binding.ClearBoundOutputs();
        _binding.BindOutputToDevice(signature.Logits!.Name, OrtMemoryInfo.DefaultInstance);
        for (var i = 0; i < _cache.Length; i++)
        {
            var name = signature.Cache[i].Present.Name;
            if (_shared)
            {
                _binding.BindOutput(name, _cache[i]);
            }
            else
            {
                _binding.BindOutputToDevice(name, OrtMemoryInfo.DefaultInstance);
            }
        }
    }

    private void KeepCache(int index, OrtValue present)
    {
        if (_shared)
        {
            present.Dispose();
            return;
        }

        var pair = _model.Signature.Cache[index];
        var next = present;
        if (pair.Past.Type != pair.Present.Type)
        {
            next = Elements.Convert(present, pair.Past.Type);
            present.Dispose();
        }

        _binding.BindInput(pair.Past.Name, next);
        _cache[index].Dispose();
        _cache[index] = next;
    }

    private long[] CacheShape(CachePair pair, long length) =>
        CacheShapes.Of(pair, _batch, length, _model.Configuration, Path.GetFileName(_model.File));

    private OrtValue Ones(TensorSignature input, int total)
    {
        var ones = new long[_batch * total];
        Array.Fill(ones, 1);
        return Elements.Integers(input.Type, ones, _batch, total);
    }

    private OrtValue Positions(TensorSignature input, int count)
    {
        var positions = new long[_batch * count];
        for (var i = 0; i < positions.Length; i++)
        {
            positions[i] = Length + (i % count);
        }

        return Elements.Integers(input.Type, positions, _batch, count);
    }

    private void BindIfPresent(TensorSignature? input, OrtValue? value)
    {
        if (input is not null && value is not null)
        {
            _binding.BindInput(input.Name, value);
        }
    }
}
