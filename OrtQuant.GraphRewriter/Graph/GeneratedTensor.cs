using OrtQuant.Descriptions;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>
/// A tensor that does not exist until the model is saved. Tensors that come from one computation (packed weights, scales and
/// zero points of one weight) form a group, which the writer produces in one call and lets go before the next.
/// </summary>
<<<<<<< Updated upstream
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
=======
>>>>>>> Stashed changes
public sealed class GeneratedTensor : LazyTensor
{
    private readonly TensorSpec _spec;

    private GeneratedTensor(TensorSpec spec, TensorGroup group)
    {
        _spec = spec;
        Group = group;
    }

    /// <inheritdoc/>
    public override ElementType Type => _spec.Type;

    /// <inheritdoc/>
    public override IReadOnlyList<long> Shape => _spec.Shape;

    /// <inheritdoc/>
    public override long ByteLength => _spec.ByteLength;

    internal TensorGroup Group { get; }

    /// <summary>Tensors that one call produces.</summary>
    /// <param name="specs">Type and shape of each.</param>
    /// <param name="produce">Fills the raw form of all of them, in the order of <paramref name="specs"/>; called at most once by a save.</param>
    public static IReadOnlyList<GeneratedTensor> CreateGroup(IReadOnlyList<TensorSpec> specs, Action<IReadOnlyList<Memory<byte>>> produce)
    {
        var group = new TensorGroup(produce);
        group.Members = [.. specs.Select(spec => new GeneratedTensor(spec, group))];
        return group.Members;
    }

    /// <summary>Produces the whole group for these bytes: as slow as the computation. A save does not come this way.</summary>
    /// <inheritdoc/>
    public override void Read(long byteOffset, Span<byte> destination)
    {
<<<<<<< Updated upstream
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
=======
        CheckRange(byteOffset, destination.Length);
        using var buffers = Group.Produce();
        buffers.Of(this).Span.Slice((int)byteOffset, destination.Length).CopyTo(destination);
    }
}

/// <summary>Tensors that one computation produces.</summary>
internal sealed class TensorGroup(Action<IReadOnlyList<Memory<byte>>> produce)
{
    public IReadOnlyList<GeneratedTensor> Members { get; set; } = [];

    /// <summary>Runs the computation.</summary>
    /// <exception cref="OrtQuantException">A member has 2 GiB or more.</exception>
    public ProducedTensors Produce()
    {
        var buffers = new ProducedTensors(Members);
        try
        {
            produce(buffers.Memories);
            return buffers;
        }
        catch
        {
            buffers.Dispose();
            throw;
        }
    }
}

/// <summary>The bytes of a group, until they are disposed.</summary>
internal sealed class ProducedTensors : IDisposable
{
    private readonly IReadOnlyList<GeneratedTensor> _members;
    private readonly List<NativeBuffer> _buffers = [];

    public ProducedTensors(IReadOnlyList<GeneratedTensor> members)
    {
        _members = members;
        foreach (var member in members)
        {
            if (member.ByteLength > int.MaxValue)
            {
                Dispose();
                throw new OrtQuantException($"a packed tensor of shape [{string.Join(", ", member.Shape)}] has {member.ByteLength} bytes; it must have at most {int.MaxValue}");
            }

            _buffers.Add(new NativeBuffer((int)member.ByteLength));
        }
    }

    public IReadOnlyList<Memory<byte>> Memories => [.. _buffers.Select(buffer => buffer.Memory)];

    public ReadOnlyMemory<byte> Of(GeneratedTensor tensor)
    {
        for (var i = 0; i < _members.Count; i++)
        {
            if (ReferenceEquals(_members[i], tensor)) return _buffers[i].Memory;
        }

        throw new ArgumentException("the tensor is not of this group", nameof(tensor));
    }
>>>>>>> Stashed changes

    public void Dispose()
    {
        foreach (IDisposable buffer in _buffers) buffer.Dispose();
    }
}
