using System.Buffers;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Weights;

namespace OrtQuant.GraphRewriter.Adapters;

/// <summary>
/// A weight's tensor with a low-rank change added while it is read. As floats it is the exact sum, rounded to float32; as bytes it is rounded
/// to the type that the tensor had.
/// </summary>
internal sealed class AdaptedTensor : LazyTensor
{
    private const int BlockElements = 1 << 15;

    private readonly LazyTensor _source;
    private readonly LowRankChange _change;
    private readonly bool _transposed;
    private readonly long _width;

    /// <summary>The sum.</summary>
    /// <param name="source">The tensor; its last two dimensions are the weight's, those before are 1.</param>
    /// <param name="transposed">It holds <c>[K, N]</c>, not <c>[N, K]</c>.</param>
    /// <param name="change">The change, in rows and columns of the weight.</param>
    internal AdaptedTensor(LazyTensor source, bool transposed, LowRankChange change)
    {
        (_source, _transposed, _change) = (source, transposed, change);
        _width = transposed ? source.Count / change.Columns : change.Columns;
    }

    public override ElementType Type => _source.Type;

    public override IReadOnlyList<long> Shape => _source.Shape;

    public override long ByteLength => _source.ByteLength;

    internal override bool TryReadFloats(long index, Span<float> values)
    {
        ElementReader.Read(_source, index, values);
        var factors = _change.Read();
        while (values.Length > 0)
        {
            // As much as lies in one row of the tensor.
            var (line, at) = Math.DivRem(index, _width);
            var count = (int)Math.Min(values.Length, _width - at);
            if (_transposed) AddColumn(factors, (int)line, at, values[..count]);
            else if (line >= _change.FirstRow && line < _change.FirstRow + _change.Rows) factors.AddRow((int)(line - _change.FirstRow), (int)at, values[..count]);
            values = values[count..];
            index += count;
        }

        return true;
    }

    public override void Read(long byteOffset, Span<byte> destination)
    {
        CheckRead(byteOffset, destination.Length);
        var size = (int)Type.ByteLength(1);
        var values = ArrayPool<float>.Shared.Rent(BlockElements);
        var bytes = ArrayPool<byte>.Shared.Rent(BlockElements * size);
        try
        {
            while (destination.Length > 0)
            {
                // A read may start or end inside an element.
                var (first, skip) = Math.DivRem(byteOffset, size);
                var count = (int)Math.Min(BlockElements, (skip + destination.Length + size - 1) / size);
                TryReadFloats(first, values.AsSpan(0, count));
                FloatBytes.Encode(Type, values.AsSpan(0, count), bytes.AsSpan(0, count * size));
                var part = bytes.AsSpan((int)skip, Math.Min((count * size) - (int)skip, destination.Length));
                part.CopyTo(destination);
                destination = destination[part.Length..];
                byteOffset += part.Length;
            }
        }
        finally
        {
            ArrayPool<float>.Shared.Return(values);
            ArrayPool<byte>.Shared.Return(bytes);
        }
    }

    // Rows of the weight from..from + count of one k, as far as they are changed.
    private void AddColumn(LowRankChange.Values factors, int k, long from, Span<float> values)
    {
        var first = Math.Max(from, _change.FirstRow);
        var end = Math.Min(from + values.Length, _change.FirstRow + _change.Rows);
        if (first < end) factors.AddColumn(k, (int)(first - _change.FirstRow), values[(int)(first - from)..(int)(end - from)]);
    }
}
