using System.Buffers;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Weights;

/// <summary>
/// A weight as a tensor holds it, <c>[N, K]</c> or transposed <c>[K, N]</c>, in float16, bfloat16, float32 or float64; or one matrix out of a
/// tensor that holds several (the weights of one expert).
/// </summary>
public sealed class TensorWeight : IWeightSource
{
    // A transposed tensor is read in pieces of 16 k x a block of rows, which stay in the first-level cache until each
    // destination row has received one cache line.
    private const int TransposeDepth = 16;
    private readonly LazyTensor _tensor;
    private readonly bool _storedTransposed;
    private readonly long _first;

    /// <summary>A view of a tensor.</summary>
    /// <param name="tensor">The tensor.</param>
    /// <param name="shape">Shape of the weight.</param>
    /// <param name="storedTransposed">The tensor holds <c>[K, N]</c>, as <c>MatMul</c> reads it.</param>
    /// <param name="firstElement">Index of the weight's first element in the tensor, row-major.</param>
    /// <exception cref="OrtQuantException">The element type cannot be read, or the weight is outside the tensor.</exception>
    public TensorWeight(LazyTensor tensor, WeightShape shape, bool storedTransposed, long firstElement = 0)
    {
        if (!ElementReader.Types.Contains(tensor.Type))
        {
            throw new OrtQuantException($"element type is {tensor.Type}; a weight must be one of {string.Join(", ", ElementReader.Types)}");
        }

        var elements = tensor.Shape.Aggregate(1L, (product, dimension) => checked(product * dimension));
        if (firstElement < 0 || shape.Count > elements - firstElement)
        {
            throw new OrtQuantException(
                $"weight of shape {shape} at element {firstElement} is outside a tensor of shape [{string.Join(", ", tensor.Shape)}]");
        }

        _tensor = tensor;
        Shape = shape;
        _storedTransposed = storedTransposed;
        _first = firstElement;
    }

    /// <inheritdoc/>
    public WeightShape Shape { get; }

    /// <inheritdoc/>
    public void ReadRows(long n0, int count, Span<float> rows)
    {
        WeightSource.CheckRead(Shape, n0, count, rows.Length);
        if (_storedTransposed)
        {
            ReadColumns(n0, count, rows);
        }
        else
        {
            ElementReader.Read(_tensor, _first + (n0 * Shape.K), rows);
        }
    }

    private void ReadColumns(long n0, int count, Span<float> rows)
    {
        var k = (int)Shape.K;
        var buffer = ArrayPool<float>.Shared.Rent(TransposeDepth * count);
        try
        {
            for (var k0 = 0; k0 < k; k0 += TransposeDepth)
            {
                var depth = Math.Min(TransposeDepth, k - k0);
                for (var i = 0; i < depth; i++)
                {
                    ElementReader.Read(_tensor, _first + ((k0 + i) * Shape.N) + n0, buffer.AsSpan(i * count, count));
                }

                for (var n = 0; n < count; n++)
                {
                    var line = rows.Slice((n * k) + k0, depth);
                    for (var i = 0; i < line.Length; i++)
                    {
                        line[i] = buffer[(i * count) + n];
                    }
                }
            }
        }
        finally
        {
            ArrayPool<float>.Shared.Return(buffer);
        }
    }
}
