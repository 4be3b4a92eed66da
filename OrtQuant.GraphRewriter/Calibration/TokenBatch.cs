using Microsoft.ML.OnnxRuntime;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Calibration;

/// <summary>Some token sequences of one length, as the inputs of a graph: ids, masks of ones, positions, an empty past.</summary>
internal sealed class TokenBatch : IDisposable
{
    private readonly Dictionary<string, OrtValue> _inputs = [];

    /// <summary>Makes the inputs.</summary>
    /// <param name="signature">What the graph takes.</param>
    /// <param name="ids">Token ids <c>[batch, length]</c>.</param>
    /// <param name="batch">Sequences.</param>
    /// <param name="configuration">Sizes that the graph does not give.</param>
    /// <param name="model">Names the model in errors.</param>
    internal TokenBatch(ModelSignature signature, long[] ids, int batch, ModelConfiguration configuration, string model)
    {
        var length = ids.Length / batch;
        Tokens = ids.Length;
        try
        {
            foreach (var pair in signature.Cache)
            {
                _inputs[pair.Past.Name] = Elements.Allocate(pair.Past.Type, CacheShapes.Of(pair, batch, 0, configuration, model));
            }

            _inputs[signature.InputIds!.Name] = Elements.Integers(signature.InputIds.Type, ids, batch, length);
            if (signature.AttentionMask is { } mask)
            {
                var ones = new long[ids.Length];
                Array.Fill(ones, 1);
                _inputs[mask.Name] = Elements.Integers(mask.Type, ones, batch, length);
            }

            if (signature.PositionIds is { } positions)
            {
                _inputs[positions.Name] = Elements.Integers(positions.Type, [.. Enumerable.Range(0, ids.Length).Select(i => (long)(i % length))], batch, length);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Number of tokens.</summary>
    internal int Tokens { get; }

    /// <summary>The input of that name.</summary>
    internal OrtValue this[string name] => _inputs[name];

    public void Dispose()
    {
        foreach (var value in _inputs.Values) value.Dispose();
    }
}
