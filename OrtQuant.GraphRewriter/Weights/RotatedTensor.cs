using System.Buffers;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.Schemes.Smooth;

namespace OrtQuant.GraphRewriter.Weights;

/// <summary>
/// A weight <c>[N, K]</c> whose rows are multiplied by H^T / sqrt(K) while they are read, in double precision: what activations through
/// <c>ortquant::HadamardTransform</c> meet. As floats it is rounded once; as bytes once more, to the type that it stands for.
/// </summary>
internal sealed class RotatedTensor : LazyTensor
{
    private readonly IWeightSource _source;
    private readonly sbyte[] _factor;

    /// <summary>The rotated weight.</summary>
    /// <param name="source">The weight; K is an order of <see cref="Hadamard"/>.</param>
    /// <param name="type">Type of the tensor.</param>
    internal RotatedTensor(IWeightSource source, ElementType type)
    {
        (_source, Type) = (source, type);
        _factor = Hadamard.Matrix(Hadamard.FactorOf(source.Shape.K)!.Value);
    }

    public override ElementType Type { get; }

    public override IReadOnlyList<long> Shape => [_source.Shape.N, _source.Shape.K];

    public override long ByteLength => Type.ByteLength(_source.Shape.Count);

    internal override bool TryReadFloats(long index, Span<float> values)
    {
        var k = (int)_source.Shape.K;
        var first = index / k;
        var count = (int)((index + values.Length + k - 1) / k - first);
        var rows = ArrayPool<float>.Shared.Rent(count * k);
        var row = ArrayPool<double>.Shared.Rent(2 * k);
        try
        {
            _source.ReadRows(first, count, rows.AsSpan(0, count * k));
            for (var i = 0; i < count; i++)
            {
                var part = rows.AsSpan(i * k, k);
                for (var j = 0; j < k; j++) row[j] = part[j];
                Hadamard.Transform(row.AsSpan(0, k), _factor, row.AsSpan(k, k));
                for (var j = 0; j < k; j++) part[j] = (float)row[j];
            }

            rows.AsSpan((int)(index - (first * k)), values.Length).CopyTo(values);
            return true;
        }
        finally
        {
            ArrayPool<float>.Shared.Return(rows);
            ArrayPool<double>.Shared.Return(row);
        }
    }

    public override void Read(long byteOffset, Span<byte> destination)
    {
        CheckRead(byteOffset, destination.Length);
        var size = (int)Type.ByteLength(1);
        var k = (int)_source.Shape.K;
        var values = ArrayPool<float>.Shared.Rent(k);
        var bytes = ArrayPool<byte>.Shared.Rent(k * size);
        try
        {
            while (destination.Length > 0)
            {
                // A row at a time; a read may start or end inside an element.
                var (first, skip) = Math.DivRem(byteOffset, size);
                var wanted = (skip + destination.Length + size - 1) / size;
                var count = (int)Math.Min(wanted, k - (first % k));
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
}
