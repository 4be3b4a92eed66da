using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>
/// Tensors that come into being together when the model is saved: the packed codes, scales and zero points of one weight.
/// Sizes are known at once, the data only while it is being written, so that one weight at a time is in memory.
/// </summary>
public sealed class TensorProducer
{
    private readonly Action<IReadOnlyList<Memory<byte>>, CancellationToken> _produce;

    /// <summary>Declares tensors.</summary>
    /// <param name="tensors">Type and shape of each.</param>
    /// <param name="produce">Fills the raw forms of all of them. It may be called more than once and must give the same bytes.</param>
    public TensorProducer(IReadOnlyList<(ElementType Type, IReadOnlyList<long> Shape)> tensors, Action<IReadOnlyList<Memory<byte>>, CancellationToken> produce)
    {
        _produce = produce;
        Tensors = [.. tensors.Select((tensor, index) => new GeneratedTensor(this, index, tensor.Type, tensor.Shape))];
    }

    /// <summary>The tensors, in the order of their declaration.</summary>
    public IReadOnlyList<GeneratedTensor> Tensors { get; }

    /// <summary>Produces all of them.</summary>
    /// <exception cref="OrtQuantException">One of them has 2 GiB or more.</exception>
    internal ProducedTensors Produce(CancellationToken cancellation)
    {
        var produced = new ProducedTensors(Tensors);
        try
        {
            _produce(produced.Data, cancellation);
            return produced;
        }
        catch
        {
            produced.Dispose();
            throw;
        }
    }
}

/// <summary>One of the tensors of a <see cref="TensorProducer"/>. Reading it outside of a save produces all of them.</summary>
public sealed class GeneratedTensor : LazyTensor
{
    internal GeneratedTensor(TensorProducer producer, int index, ElementType type, IReadOnlyList<long> shape)
    {
        (Producer, Index, Type, Shape) = (producer, index, type, shape);
        ByteLength = TensorSize.Bytes(type, shape, "generated tensor");
    }

    /// <summary>What produces it.</summary>
    public TensorProducer Producer { get; }

    /// <summary>Its place among the producer's tensors.</summary>
    public int Index { get; }

    /// <inheritdoc/>
    public override ElementType Type { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<long> Shape { get; }

    /// <inheritdoc/>
    public override long ByteLength { get; }

    /// <inheritdoc/>
    public override void Read(long byteOffset, Span<byte> destination)
    {
        CheckRead(byteOffset, destination.Length);
        using var produced = Producer.Produce(CancellationToken.None);
        produced.Data[Index].Span.Slice((int)byteOffset, destination.Length).CopyTo(destination);
    }
}

/// <summary>The data of a producer's tensors, outside the garbage-collected heap: the memory of one weight is free before the next one's is taken.</summary>
internal sealed class ProducedTensors : IDisposable
{
    private readonly List<NativeBuffer> _buffers = [];

    internal ProducedTensors(IReadOnlyList<GeneratedTensor> tensors)
    {
        foreach (var tensor in tensors)
        {
            if (tensor.ByteLength > int.MaxValue)
            {
                Dispose();
                throw new OrtQuantException(
                    $"a packed tensor of {tensor.Type} [{string.Join(", ", tensor.Shape)}] has {tensor.ByteLength} bytes; it may have {int.MaxValue}");
            }

            _buffers.Add(new NativeBuffer((int)tensor.ByteLength));
        }

        Data = [.. _buffers.Select(buffer => buffer.Memory)];
    }

    /// <summary>The raw form of each, in the order of the producer's tensors.</summary>
    internal IReadOnlyList<Memory<byte>> Data { get; } = [];

    public void Dispose()
    {
        foreach (IDisposable buffer in _buffers) buffer.Dispose();
    }
}
