using System.Buffers;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using OrtQuant.Descriptions;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes.Lut;

/// <summary>
/// Coefficients and offset of one group for the least (weighted) squared error. From each start two steps alternate, as in LUT-GEMM (arXiv 2206.09557) and the alternating
/// multi-bit quantization before it (arXiv 1802.00150): least squares for the present signs, then the nearest level for each value. Values are sorted once; the values of a level
/// are then a run of them, known by its ends, and a step costs as many operations as there are levels, however large the group.
/// </summary>
internal ref struct BinaryFit
{
    private const int MaxPlanes = LutGeometry.MaxBits;
    private const int MaxLevels = 1 << MaxPlanes;
    private const int MaxRounds = 12;

    // An alternation that gains less than this share of the error is the last one.
    private const double LeastGain = 1e-3;

    private readonly int _planes;
    private readonly ElementType _type;
    private readonly ReadOnlySpan<float> _values;
    private readonly ReadOnlySpan<double> _weight;
    private readonly ReadOnlySpan<double> _moment;
    private readonly double _squares;
    private readonly Span<float> _best;
    private float _bestOffset;
    private double _leastError;

    private BinaryFit(ReadOnlySpan<float> sorted, ReadOnlySpan<double> weight, ReadOnlySpan<double> moment, double squares, ElementType type, Span<float> best)
    {
        (_planes, _type, _squares) = (best.Length, type, squares);
        _values = sorted;
        _weight = weight;
        _moment = moment;
        _best = best;
        _leastError = double.PositiveInfinity;
    }

    // Starts of evenly spaced levels, as shares of the range.
    private static ReadOnlySpan<double> Shares => [1, 0.8, 0.6];

    /// <summary>Fits one group.</summary>
    /// <param name="values">Its values.</param>
    /// <param name="importance">Empty, or the weights of the squared errors.</param>
    /// <param name="type">Type that coefficients and offset are rounded to.</param>
    /// <param name="alphas">The coefficients, ascending.</param>
    /// <returns>The offset.</returns>
    /// <exception cref="GroupFit.UnrepresentableException">A value is not finite, or a coefficient is too large for the type.</exception>
    public static float Fit(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, ElementType type, Span<float> alphas)
    {
        if (!TensorPrimitives.IsFiniteAll<float>(values)) throw new GroupFit.UnrepresentableException("a value is NaN or infinite; weights must be finite");
        var floats = ArrayPool<float>.Shared.Rent(2 * values.Length);
        var sums = ArrayPool<double>.Shared.Rent(2 * (values.Length + 1));
        try
        {
            var sorted = floats.AsSpan(0, values.Length);
            var weights = floats.AsSpan(values.Length, values.Length);
            values.CopyTo(sorted);
            if (importance.IsEmpty || TensorPrimitives.Max(importance) == 0)
            {
                weights.Fill(1f);
                sorted.Sort();
            }
            else
            {
                importance.CopyTo(weights);
                sorted.Sort(weights);
            }

            var weight = sums.AsSpan(0, values.Length + 1);
            var moment = sums.AsSpan(values.Length + 1, values.Length + 1);
            (weight[0], moment[0]) = (0, 0);
            var squares = 0.0;
            for (var i = 0; i < sorted.Length; i++)
            {
                double v = sorted[i], h = weights[i];
                weight[i + 1] = weight[i] + h;
                moment[i + 1] = moment[i] + (h * v);
                squares += h * v * v;
            }

            var fit = new BinaryFit(sorted, weight, moment, squares, type, alphas);
            fit.Search();
            return fit._bestOffset;
        }
        finally
        {
            ArrayPool<float>.Shared.Return(floats);
            ArrayPool<double>.Shared.Return(sums);
        }
    }

    private void Search()
    {
        Span<double> alphas = stackalloc double[_planes];
        Refine(alphas, Greedy(alphas));
        double lowest = _values[0], highest = _values[^1];
        foreach (var share in Shares)
        {
            var step = share * (highest - lowest) / ((1 << _planes) - 1);
            for (var i = 0; i < _planes; i++) alphas[i] = step * (1 << i) / 2;
            Refine(alphas, (lowest + highest) / 2);
        }

        if (double.IsFinite(_leastError)) return;
        var magnitude = Math.Max(-lowest, highest);
        throw new GroupFit.UnrepresentableException(
            $"its largest magnitude is {magnitude:g4}; coefficients must stay below {(_type == ElementType.Float16 ? 65504 : float.MaxValue):g6}{(_type == ElementType.Float16 ? " (scale_type float32 holds more)" : "")}");
    }

    // Offset: the mean. Then each coefficient is the mean magnitude of what is left, and each value goes to one side of where it is.
    private readonly double Greedy(scoped Span<double> alphas)
    {
        Span<int> ends = stackalloc int[MaxLevels + 1];
        Span<double> centres = stackalloc double[MaxLevels];
        Span<int> nextEnds = stackalloc int[MaxLevels + 1];
        Span<double> nextCentres = stackalloc double[MaxLevels];
        var offset = _moment[^1] / _weight[^1];
        (ends[0], ends[1], centres[0]) = (0, _values.Length, offset);
        for (var i = _planes - 1; i >= 0; i--)
        {
            var nodes = 1 << (_planes - 1 - i);
            var total = 0.0;
            nextEnds[0] = 0;
            for (var node = 0; node < nodes; node++)
            {
                var middle = Place(centres[node], ends[node], ends[node + 1]);
                total += Sum(middle, ends[node + 1], centres[node]) - Sum(ends[node], middle, centres[node]);
                (nextEnds[(2 * node) + 1], nextEnds[(2 * node) + 2]) = (middle, ends[node + 1]);
            }

            alphas[i] = total / _weight[^1];
            for (var node = 0; node < nodes; node++)
            {
                (nextCentres[2 * node], nextCentres[(2 * node) + 1]) = (centres[node] - alphas[i], centres[node] + alphas[i]);
            }

            nextEnds[..((2 * nodes) + 1)].CopyTo(ends);
            nextCentres[..(2 * nodes)].CopyTo(centres);
        }

        return offset;
    }

    // Alternates from here on; keeps the best that is met.
    private void Refine(scoped Span<double> alphas, double offset)
    {
        Span<float> levels = stackalloc float[1 << _planes];
        Span<byte> order = stackalloc byte[1 << _planes];
        Span<float> stored = stackalloc float[_planes];
        var last = double.PositiveInfinity;
        for (var round = 0; round <= MaxRounds; round++)
        {
            for (var i = 0; i < _planes; i++) stored[i] = GroupFit.Store(alphas[i], _type);
            var storedOffset = GroupFit.Store(offset, _type);
            BinaryCoding.Levels(stored, storedOffset, levels);
            if (!float.IsFinite(TensorPrimitives.Sum<float>(levels))) return;
            for (var code = 0; code < levels.Length; code++) order[code] = (byte)code;
            levels.Sort(order);
            var normal = new Normal(_planes);
            var error = _squares;
            for (int level = 0, begin = 0; level < levels.Length; level++)
            {
                var end = level + 1 == levels.Length ? _values.Length : Place((levels[level] * 0.5) + (levels[level + 1] * 0.5), begin, _values.Length);
                double h = _weight[end] - _weight[begin], hv = _moment[end] - _moment[begin], value = levels[level];
                error += (h * value * value) - (2 * hv * value);
                normal.Add(order[level], h, hv);
                begin = end;
            }

            if (error < _leastError)
            {
                _leastError = error;
                stored.CopyTo(_best);
                _bestOffset = storedOffset;
            }

            if (!(error < last * (1 - LeastGain)) || !normal.Solve(alphas, out offset)) return;
            last = error;
            for (var i = 0; i < _planes; i++) alphas[i] = Math.Abs(alphas[i]);
            alphas.Sort();
        }
    }

    // Sum over a run of h (v - centre).
    private readonly double Sum(int begin, int end, double centre) => _moment[end] - _moment[begin] - (centre * (_weight[end] - _weight[begin]));

    // The first value of a run above a number.
    private readonly int Place(double value, int begin, int end)
    {
        while (begin < end)
        {
            var middle = (begin + end) / 2;
            if (_values[middle] > value) end = middle;
            else begin = middle + 1;
        }

        return begin;
    }

    /// <summary>The normal equations of <c>v ~ offset + sum alpha_i * s_i</c> over signs s.</summary>
    private struct Normal(int planes)
    {
        private const int Size = MaxPlanes + 1;
        private const double Ridge = 1e-10;
        private Matrix _matrix;

        private readonly int Unknowns => planes + 1;

        /// <summary>Adds the values of one level: their weight, and their weighted sum.</summary>
        public void Add(int code, double weight, double moment)
        {
            for (var row = 0; row < Unknowns; row++)
            {
                var sign = Sign(code, row);
                for (var column = 0; column < Unknowns; column++) _matrix[(row * (Size + 1)) + column] += sign * Sign(code, column) * weight;
                _matrix[(row * (Size + 1)) + Size] += sign * moment;
            }
        }

        /// <summary>Gaussian elimination of a matrix that is positive definite but for levels that nobody takes.</summary>
        public bool Solve(scoped Span<double> alphas, out double offset)
        {
            var scale = _matrix[0];
            offset = 0;
            if (!(scale > 0)) return false;
            for (var i = 0; i < Unknowns; i++) _matrix[(i * (Size + 1)) + i] += Ridge * scale;
            for (var pivot = 0; pivot < Unknowns; pivot++)
            {
                for (var row = 0; row < Unknowns; row++)
                {
                    if (row == pivot) continue;
                    var factor = _matrix[(row * (Size + 1)) + pivot] / _matrix[(pivot * (Size + 1)) + pivot];
                    for (var column = pivot; column < Unknowns; column++) _matrix[(row * (Size + 1)) + column] -= factor * _matrix[(pivot * (Size + 1)) + column];
                    _matrix[(row * (Size + 1)) + Size] -= factor * _matrix[(pivot * (Size + 1)) + Size];
                }
            }

            for (var i = 0; i < planes; i++) alphas[i] = Unknown(i);
            offset = Unknown(planes);
            return double.IsFinite(offset) && TensorPrimitives.IsFiniteAll<double>(alphas);
        }

        private readonly double Unknown(int i) => _matrix[(i * (Size + 1)) + Size] / _matrix[(i * (Size + 1)) + i];

        private readonly double Sign(int code, int i) => i == planes || (code >> i & 1) != 0 ? 1 : -1;

        // Rows of coefficients and right-hand side.
        [InlineArray(Size * (Size + 1))]
        private struct Matrix
        {
            private double _first;
        }
    }
}
