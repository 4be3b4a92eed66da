using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace OrtQuant.GraphRewriter.Running;

/// <summary>Scores of the next token, [rows, vocabulary], as a model returned them.</summary>
public sealed class Logits : IDisposable
{
    private readonly OrtValue _value;
    private readonly TensorElementType _type;

    /// <summary>Takes over the output of a model.</summary>
    /// <param name="value">A float tensor of shape [..., vocabulary].</param>
    internal Logits(OrtValue value)
    {
        _value = value;
        var info = value.GetTensorTypeAndShape();
        _type = info.ElementDataType;
        Vocabulary = checked((int)info.Shape[^1]);
        Rows = Vocabulary == 0 ? 0 : checked((int)(info.ElementCount / Vocabulary));
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
        var bytes = Vocabulary * Elements.SizeOf(_type);
        Elements.ToSingle(_value.GetTensorMutableRawData().Slice(checked(row * bytes), bytes), _type, scores);
    }

    /// <inheritdoc/>
    public void Dispose() => _value.Dispose();
}
