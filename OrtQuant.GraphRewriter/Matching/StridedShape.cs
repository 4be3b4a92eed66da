namespace OrtQuant.GraphRewriter.Matching;

/// <summary>A shape and, for each dimension, the distance in elements between neighbours in a stored row-major tensor.</summary>
internal sealed class StridedShape
{
    private readonly long[] _shape;
    private readonly long[] _strides;

    private StridedShape(long[] shape, long[] strides)
    {
        _shape = shape;
        _strides = strides;
    }

    internal IReadOnlyList<long> Shape => _shape;

    internal static StridedShape RowMajor(IReadOnlyList<long> shape)
    {
        var strides = new long[shape.Count];
        var stride = 1L;
        for (var axis = shape.Count - 1; axis >= 0; axis--)
        {
            strides[axis] = stride;
            stride = checked(stride * shape[axis]);
        }

        return new StridedShape([.. shape], strides);
    }

    /// <summary>Axes in another order; null reverses them, as ONNX Transpose does.</summary>
    internal StridedShape Transpose(IReadOnlyList<long>? permutation)
    {
        var axes = permutation is null
            ? Enumerable.Range(0, _shape.Length).Reverse().ToArray()
            : [.. permutation.Select(axis => (int)axis)];
        return new StridedShape([.. axes.Select(axis => _shape[axis])], [.. axes.Select(axis => _strides[axis])]);
    }

    /// <summary>
    /// The same elements in another shape, where strides can say so: dimensions are only split, merged with the neighbour that
    /// follows them in memory, added or dropped at length 1.
    /// </summary>
    internal bool TryReshape(IReadOnlyList<long> shape, out StridedShape reshaped)
    {
        reshaped = this;
        var from = Enumerable.Range(0, _shape.Length).Where(axis => _shape[axis] != 1).ToArray();
        var strides = new long[shape.Count];
        Array.Fill(strides, 1);
        var to = Enumerable.Range(0, shape.Count).Where(axis => shape[axis] != 1).ToArray();
        int f = 0, t = 0;
        while (f < from.Length && t < to.Length)
        {
            int firstFrom = f, firstTo = t;
            long have = _shape[from[f++]], want = shape[to[t++]];
            while (have != want)
            {
                if (have < want)
                {
                    if (f == from.Length) return false;
                    have = checked(have * _shape[from[f++]]);
                }
                else
                {
                    if (t == to.Length) return false;
                    want = checked(want * shape[to[t++]]);
                }
            }

            for (var axis = firstFrom; axis < f - 1; axis++)
            {
                if (_strides[from[axis]] != _strides[from[axis + 1]] * _shape[from[axis + 1]]) return false;
            }

            var stride = _strides[from[f - 1]];
            for (var axis = t - 1; axis >= firstTo; axis--)
            {
                strides[to[axis]] = stride;
                stride *= shape[to[axis]];
            }
        }

        if (f != from.Length || t != to.Length) return false;
        reshaped = new StridedShape([.. shape], strides);
        return true;
    }

    /// <summary>
    /// Reads the shape as a matrix, leading dimensions of length 1 aside: whether its rows, or its columns, are the contiguous
    /// runs of the stored tensor.
    /// </summary>
    /// <returns>Null if it is no matrix or lies in memory in neither way.</returns>
    internal (long Rows, long Columns, bool ColumnMajor)? AsMatrix()
    {
        if (_shape.Length < 2 || _shape.Take(_shape.Length - 2).Any(dimension => dimension != 1)) return null;
        var (rows, columns) = (_shape[^2], _shape[^1]);
        var (rowStride, columnStride) = (_strides[^2], _strides[^1]);
        if ((columnStride == 1 || columns == 1) && (rowStride == columns || rows == 1)) return (rows, columns, false);
        if ((rowStride == 1 || rows == 1) && (columnStride == rows || columns == 1)) return (rows, columns, true);
        return null;
    }
}
