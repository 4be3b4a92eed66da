using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace OrtQuant.GraphRewriter.Running;

/// <summary>Scores of the next token, [rows, vocabulary], as a model returned them.</summary>
public sealed class Logits : IDisposable
{
    private readonly OrtValue _value;
    private readonly TensorElementType _type;
    private readonly int _length;
    private readonly int _skip;

    /// <summary>Takes over the output of a model.</summary>
    /// <param name="value">A float tensor of shape [batch, length, vocabulary].</param>
    /// <param name="skip">Positions at the start of each sequence that are not wanted.</param>
    internal Logits(OrtValue value, int skip = 0)
    {
        _value = value;
        _skip = skip;
        var info = value.GetTensorTypeAndShape();
        _type = info.ElementDataType;
        Vocabulary = checked((int)info.Shape[^1]);
        _length = checked((int)info.Shape[^2]) - skip;
        Rows = Vocabulary == 0 ? 0 : checked((int)(info.ElementCount / Vocabulary / info.Shape[^2])) * _length;
    }

    /// <summary>Number of token ids.</summary>
    public int Vocabulary { get; }

    /// <summary>Number of positions, over all sequences.</summary>
    public int Rows { get; }

    /// <summary>Copies the scores of one position.</summary>
    /// <param name="row">Position, sequences one after the other.</param>
    /// <param name="scores">Receives <see cref="Vocabulary"/> numbers.</param>
    public void ReadRow(int row, Span<float> scores)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)Rows, nameof(row));
        var stored = (row / _length * (_length + _skip)) + _skip + (row % _length);
        var bytes = Vocabulary * Elements.SizeOf(_type);
        Elements.ToSingle(_value.GetTensorMutableRawData().Slice(checked(stored * bytes), bytes), _type, scores);
    }

    /// <inheritdoc/>
    public void Dispose() => _value.Dispose();
}
