using Microsoft.ML.OnnxRuntime;

namespace OrtQuant.GraphRewriter.Running;

/// <summary>
/// Sequences being decoded: their KV cache and length. The cache never leaves ONNX Runtime's memory: what one run returned is what the
/// next run reads; where the model allows it, past and present are one buffer that runs write in place. A model without a cache is given the whole
/// sequence at every run.
/// </summary>
public sealed class DecodingState : IDisposable
{
    private readonly LanguageModel _model;
    private readonly OrtIoBinding _binding;
    private readonly OrtValue[] _cache;
    private readonly bool _shared;
    private readonly int _batch;
    private long[] _history = [];

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
        var past = _cache.Length > 0 ? Length : 0;
        if (count == 0 || total > Capacity)
        {
            throw new RunningException($"{count} tokens after {Length} do not fit a sequence of 1 to {Capacity}");
        }

        var signature = _model.Signature;
        var fed = _cache.Length > 0 ? ids : _history = Continue(_history, ids);
        using var inputIds = Elements.Integers(signature.InputIds!.Type, fed, _batch, fed.Length / _batch);
        using var mask = signature.AttentionMask is { } maskInput ? Ones(maskInput, total) : null;
        using var positions = signature.PositionIds is { } positionInput ? Positions(positionInput, past, total - past) : null;
        _binding.BindInput(signature.InputIds.Name, inputIds);
        BindIfPresent(signature.AttentionMask, mask);
        BindIfPresent(signature.PositionIds, positions);
        BindOutputs();
        var logits = new Logits(Run(cancellation), skip: Length - past);
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

    private OrtValue Run(CancellationToken cancellation)
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

        return outputs[0];
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

    // Sequences of the batch, each followed by its next ids.
    private long[] Continue(long[] history, ReadOnlySpan<long> ids)
    {
        var longer = new long[history.Length + ids.Length];
        var (before, after) = (history.Length / _batch, ids.Length / _batch);
        for (var sequence = 0; sequence < _batch; sequence++)
        {
            var row = longer.AsSpan(sequence * (before + after), before + after);
            history.AsSpan(sequence * before, before).CopyTo(row);
            ids.Slice(sequence * after, after).CopyTo(row[before..]);
        }

        return longer;
    }

    private long[] CacheShape(CachePair pair, long length) =>
        CacheShapes.Of(pair, _batch, length, _model.Configuration, Path.GetFileName(_model.File));

    private OrtValue Ones(TensorSignature input, int total)
    {
        var ones = new long[_batch * total];
        Array.Fill(ones, 1);
        return Elements.Integers(input.Type, ones, _batch, total);
    }

    private OrtValue Positions(TensorSignature input, int past, int count)
    {
        var positions = new long[_batch * count];
        for (var i = 0; i < positions.Length; i++)
        {
            positions[i] = past + (i % count);
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
