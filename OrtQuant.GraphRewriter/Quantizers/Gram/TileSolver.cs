using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Quantizers.Gram;

/// <summary>
/// Quantizes up to 16 rows for the least <c>trace((W - W') G (W - W')^T)</c>: a first pass fixes group after group with error feedback (GPTQ), the scale
/// of each group searched for the error that is left once all later positions compensate; then sweeps take each group up again while all others
/// stay (block coordinate descent), and keep what is no worse.
/// </summary>
internal sealed class TileSolver
{
    private const float SmallestShrink = 0.55f;
    private readonly GramProblem _problem;
    private readonly GramOptions _options;
    private readonly IAffineGrid _grid;
    private readonly ISparseGrid? _sparse;
    private readonly ZeroPointFreedom _freedom;
    private readonly LocalProblem _local;
    private readonly float[] _weights;
    private readonly float[] _errors;
    private readonly float[] _pull;
    private readonly float[] _codes;
    private readonly float[] _scales;
    private readonly float[] _zeroPoints;
    private readonly float[] _step;
    private readonly float[] _bestCodes;
    private readonly float[] _bestValues = [];
    private readonly float[] _outliers = [];
    private readonly float[] _trialScales = new float[Lanes.Count];
    private readonly float[] _trialZeroPoints = new float[Lanes.Count];
    private readonly float[] _trialErrors = new float[Lanes.Count];
    private readonly float[] _bestScales = new float[Lanes.Count];
    private readonly float[] _bestZeroPoints = new float[Lanes.Count];
    private readonly float[] _bestErrors = new float[Lanes.Count];
    private long _n0;
    private int _count;

    public TileSolver(GramProblem problem, GramOptions options, IAffineGrid grid, ZeroPointFreedom freedom)
    {
        (_problem, _options, _grid, _freedom) = (problem, options, grid, freedom);
        var largest = problem.Order.Groups.Max(group => group.Length);
        _sparse = grid as ISparseGrid;
        _local = new LocalProblem(largest) { Outliers = _sparse is null ? null : new float[largest * Lanes.Count] };
        _weights = new float[problem.K * Lanes.Count];
        _errors = new float[_weights.Length];
        _pull = new float[_weights.Length];
        _codes = new float[_weights.Length];
        _scales = new float[problem.Order.Groups.Length * Lanes.Count];
        _zeroPoints = new float[_scales.Length];
        _step = new float[largest * Lanes.Count];
        _bestCodes = new float[_step.Length];
        if (_sparse is null) return;
        _bestValues = new float[_step.Length];
        _outliers = new float[_weights.Length];
    }

    /// <summary>Sum over the rows of <c>e G e^T</c>, with the damped G, after the last <see cref="Quantize"/>.</summary>
    public double Error { get; private set; }

    /// <summary>Quantizes rows into the grid.</summary>
    /// <param name="n0">First row.</param>
    /// <param name="count">Rows.</param>
    /// <param name="targets">What to come near to, <c>[count, K]</c>.</param>
    /// <param name="asymmetric">Moves them to what the quantized model's inputs want; null: they stay.</param>
    public void Quantize(long n0, int count, ReadOnlySpan<float> targets, AsymmetricTarget? asymmetric)
    {
        (_n0, _count) = (n0, count);
        Lanes.Load(targets, count, _problem.Order.Positions, _weights);
        asymmetric?.Move(_weights, _pull);
        FindOutliers();
        Forward();
        if (_options.Sweeps > 0)
        {
            Pull();
            for (var sweep = 0; sweep < _options.Sweeps; sweep++)
            {
                for (var i = 0; i < _problem.Blocks.Length; i++) Improve(i, sweep == 0 ? _options.SweepStarts : 0);
            }

            Error = TensorPrimitives.Dot<float>(_errors, _pull);
        }

        Keep();
    }

    private void FindOutliers()
    {
        if (_sparse is null) return;
        for (var j = 0; j < _problem.K; j++)
        {
            for (var lane = 0; lane < Lanes.Count; lane++)
            {
                var isOutlier = lane < _count && _sparse.IsOutlier(_n0 + lane, _problem.Order.Positions[j]);
                _outliers[(j * Lanes.Count) + lane] = isOutlier ? BitConverter.Int32BitsToSingle(-1) : 0f;
            }
        }
    }

    private int MaxCodeOf(int i) => _grid.MaxCodeOf(_n0, _problem.Order.Groups[i].Group);

    // The outliers of group i for the local problem.
    private void Enter(int start, int span) => _outliers.AsSpan(_sparse is null ? 0 : start * Lanes.Count, _sparse is null ? 0 : span).CopyTo(_local.Outliers);

    private void Forward()
    {
        Array.Clear(_pull);
        Error = 0;
        for (var i = 0; i < _problem.Blocks.Length; i++)
        {
            var (_, start, length) = _problem.Order.Groups[i];
            var m = _problem.FactorBlock(i);
            FreeTargets(m, start);
            Enter(start, length * Lanes.Count);
            _local.Prepare(m);

            // Zero where nothing better is found: weights so large that their squares overflow.
            Array.Fill(_bestErrors, float.PositiveInfinity);
            Array.Clear(_bestScales);
            Array.Clear(_bestZeroPoints);
            Array.Clear(_bestCodes);
            Array.Clear(_bestValues);
            Search(i, m, _problem.Ones[i], _options.Starts);
            Take(i);
            Error += TensorPrimitives.Sum<float>(_bestErrors.AsSpan(0, _count));
            var errors = _errors.AsSpan(start * Lanes.Count, length * Lanes.Count);
            Lanes.AddProduct(_pull.AsSpan((start + length) * Lanes.Count), errors, _problem.Factor, _problem.K, start, start + length);
        }
    }

    // What this group would be if it were not quantized: each position cancels what those before it left.
    private void FreeTargets(in Triangle m, int start)
    {
        var bytes = m.Length * Lanes.Count;
        _pull.AsSpan(start * Lanes.Count, bytes).CopyTo(_step);
        var targets = _local.Targets;
        Span<float> error = stackalloc float[Lanes.Count];
        for (var j = 0; j < m.Length; j++)
        {
            var pivot = m.Values[((m.Row + j) * m.Stride) + m.Column + j];
            for (var lane = 0; lane < Lanes.Count; lane++)
            {
                error[lane] = -_step[(j * Lanes.Count) + lane] / pivot;
                targets[(j * Lanes.Count) + lane] = _weights[((start + j) * Lanes.Count) + lane] - error[lane];
            }

            Lanes.AddProduct(_step.AsSpan((j + 1) * Lanes.Count, (m.Length - j - 1) * Lanes.Count), error, m.Values, m.Stride, m.Row + j, m.Column + j + 1);
        }
    }

    // The pull of all errors on each position: G e.
    private void Pull()
    {
        Array.Clear(_pull);
        foreach (var (_, start, length) in _problem.Order.Groups)
        {
            Lanes.AddProduct(_pull, _errors.AsSpan(start * Lanes.Count, length * Lanes.Count), _problem.Gram, _problem.K, start, 0);
        }
    }

    private void Improve(int i, int starts)
    {
        var (_, start, length) = _problem.Order.Groups[i];
        var m = _problem.Blocks[i];
        var span = length * Lanes.Count;
        Present(m, start, span, i);
        _scales.AsSpan(i * Lanes.Count, Lanes.Count).CopyTo(_bestScales);
        _zeroPoints.AsSpan(i * Lanes.Count, Lanes.Count).CopyTo(_bestZeroPoints);
        _codes.AsSpan(start * Lanes.Count, span).CopyTo(_bestCodes);
        if (_sparse is not null)
        {
            TensorPrimitives.Subtract(_weights.AsSpan(start * Lanes.Count, span), _errors.AsSpan(start * Lanes.Count, span), _bestValues);
            _local.KeepOutliers(m, _bestValues, _bestCodes, _bestScales, _bestZeroPoints);
        }

        // The same parameters with codes chosen anew, then those that are best for the present codes.
        _bestScales.CopyTo(_trialScales, 0);
        _bestZeroPoints.CopyTo(_trialZeroPoints, 0);
        var ones = _problem.BlockOnes[i];
        _local.Refit(m, ones, _trialScales, _trialZeroPoints, _freedom == ZeroPointFreedom.Fixed);
        Try(i, m, store: true);
        RefitAndTry(i, m, ones);
        _bestScales.CopyTo(_trialScales, 0);
        _bestZeroPoints.CopyTo(_trialZeroPoints, 0);
        Try(i, m, store: false);
        RefitAndTry(i, m, ones);
        if (starts > 0) Search(i, m, ones, starts);

        var before = _step.AsSpan(0, span);
        _errors.AsSpan(start * Lanes.Count, span).CopyTo(before);
        Take(i);
        TensorPrimitives.Subtract(_errors.AsSpan(start * Lanes.Count, span), before, before);
        if (TensorPrimitives.MaxMagnitude<float>(before) != 0) Lanes.AddProduct(_pull, before, _problem.Gram, _problem.K, start, 0);
    }

    // Codes as they are: residuals y = f M with f = G_gg^-1 pull, targets v = w' + f.
    private void Present(in Triangle m, int start, int span, int i)
    {
        var y = _local.Residuals;
        _pull.AsSpan(start * Lanes.Count, span).CopyTo(y);
        ref var r = ref MemoryMarshal.GetArrayDataReference(y);
        for (var row = m.Length - 1; row >= 0; row--)
        {
            var at = (nuint)(row * Lanes.Count);
            var (sum0, sum1) = (Vector256.LoadUnsafe(ref r, at), Vector256.LoadUnsafe(ref r, at + 8));
            for (var j = row + 1; j < m.Length; j++)
            {
                var factor = Vector256.Create(-m.Values[(row * m.Stride) + j]);
                var from = (nuint)(j * Lanes.Count);
                sum0 = Vector256.FusedMultiplyAdd(factor, Vector256.LoadUnsafe(ref r, from), sum0);
                sum1 = Vector256.FusedMultiplyAdd(factor, Vector256.LoadUnsafe(ref r, from + 8), sum1);
            }

            var inverse = Vector256.Create(1f / m.Values[(row * m.Stride) + row]);
            (sum0 * inverse).StoreUnsafe(ref r, at);
            (sum1 * inverse).StoreUnsafe(ref r, at + 8);
        }

        // f M = y, then v = w' + f = w - e + f.
        y.AsSpan(0, span).CopyTo(_step);
        Span<float> f = stackalloc float[Lanes.Count];
        for (var j = 0; j < m.Length; j++)
        {
            var inverse = 1f / m.Values[(j * m.Stride) + j];
            var at = (start + j) * Lanes.Count;
            for (var lane = 0; lane < Lanes.Count; lane++)
            {
                f[lane] = _step[(j * Lanes.Count) + lane] * inverse;
                _local.Targets[(j * Lanes.Count) + lane] = _weights[at + lane] - _errors[at + lane] + f[lane];
                f[lane] = -f[lane];
            }

            Lanes.AddProduct(_step.AsSpan((j + 1) * Lanes.Count, (m.Length - j - 1) * Lanes.Count), f, m.Values, m.Stride, j, j + 1);
        }

        Enter(start, span);
        _local.Prepare(m);
        Array.Clear(_bestErrors);
        for (var j = 0; j < span; j++) _bestErrors[j % Lanes.Count] += y[j] * y[j];
    }

    private void Search(int i, in Triangle m, float[] ones, int starts)
    {
        for (var start = 0; start < starts; start++)
        {
            var shrink = 1f - ((1f - SmallestShrink) * start / Math.Max(1, starts - 1));
            for (var lane = 0; lane < Lanes.Count; lane++)
            {
                (_trialScales[lane], _trialZeroPoints[lane]) = FromRange(_local.Lowest[lane] * shrink, _local.Highest[lane] * shrink, MaxCodeOf(i));
            }

            Try(i, m, store: true);
            RefitAndTry(i, m, ones);
        }
    }

    private (float Scale, float ZeroPoint) FromRange(float lowest, float highest, int maxCode)
    {
        if (lowest > highest) return (0, 0);
        if (_freedom == ZeroPointFreedom.Fixed)
        {
            var half = (maxCode + 1) / 2;
            return ((highest > -lowest ? highest : lowest) / -half, half);
        }

        if (_freedom == ZeroPointFreedom.Integer) (lowest, highest) = (Math.Min(lowest, 0), Math.Max(highest, 0));
        var scale = (highest - lowest) / maxCode;
        return (scale, scale == 0 ? 0 : Math.Clamp(-lowest / scale, -1000, 1000));
    }

    private void RefitAndTry(int i, in Triangle m, float[] ones)
    {
        _local.Refit(m, ones, _trialScales, _trialZeroPoints, _freedom == ZeroPointFreedom.Fixed);
        Try(i, m, store: true);
    }

    private void Try(int i, in Triangle m, bool store)
    {
        if (store)
        {
            var g = _problem.Order.Groups[i].Group;
            for (var lane = 0; lane < _count; lane++)
            {
                _grid.SetGroup(_n0 + lane, g, Math.Clamp(_trialScales[lane], -60000f, 60000f), _trialZeroPoints[lane]);
                (_trialScales[lane], _trialZeroPoints[lane]) = _grid.GetGroup(_n0 + lane, g);
            }
        }

        _local.Choose(m, _trialScales, _trialZeroPoints, MaxCodeOf(i), _trialErrors);
        Span<float> better = stackalloc float[Lanes.Count];
        var any = false;
        for (var lane = 0; lane < Lanes.Count; lane++)
        {
            var isBetter = _trialErrors[lane] < _bestErrors[lane];
            any |= isBetter;
            better[lane] = isBetter ? BitConverter.Int32BitsToSingle(-1) : 0f;
            if (!isBetter) continue;
            (_bestErrors[lane], _bestScales[lane], _bestZeroPoints[lane]) = (_trialErrors[lane], _trialScales[lane], _trialZeroPoints[lane]);
        }

        if (!any) return;
        Copy(_local.Codes, _bestCodes, better, m.Length);
        if (_sparse is not null) Copy(_local.Values, _bestValues, better, m.Length);
    }

    // The lanes that are better.
    private static void Copy(float[] source, float[] target, ReadOnlySpan<float> better, int length)
    {
        ref var from = ref MemoryMarshal.GetArrayDataReference(source);
        ref var to = ref MemoryMarshal.GetArrayDataReference(target);
        for (var half = 0; half < Lanes.Count; half += 8)
        {
            var mask = Vector256.Create<float>(better[half..(half + 8)]);
            for (var j = 0; j < length; j++)
            {
                var at = (nuint)((j * Lanes.Count) + half);
                Vector256.ConditionalSelect(mask, Vector256.LoadUnsafe(ref from, at), Vector256.LoadUnsafe(ref to, at)).StoreUnsafe(ref to, at);
            }
        }
    }

    // The best found becomes the present state.
    private void Take(int i)
    {
        var (_, start, length) = _problem.Order.Groups[i];
        var codes = _codes.AsSpan(start * Lanes.Count, length * Lanes.Count);
        _bestCodes.AsSpan(0, codes.Length).CopyTo(codes);
        _bestScales.CopyTo(_scales.AsSpan(i * Lanes.Count));
        _bestZeroPoints.CopyTo(_zeroPoints.AsSpan(i * Lanes.Count));
        for (var j = 0; j < codes.Length; j++)
        {
            var lane = j % Lanes.Count;
            var at = (start * Lanes.Count) + j;
            _errors[at] = _weights[at] - (_sparse is null ? _bestScales[lane] * (codes[j] - _bestZeroPoints[lane]) : _bestValues[j]);
        }
    }

    private void Keep()
    {
        for (var lane = 0; lane < _count; lane++)
        {
            var codes = _grid.Codes(_n0 + lane);
            for (var i = 0; i < _problem.Blocks.Length; i++)
            {
                var (group, start, length) = _problem.Order.Groups[i];
                _grid.SetGroup(_n0 + lane, group, _scales[(i * Lanes.Count) + lane], _zeroPoints[(i * Lanes.Count) + lane]);
                for (var j = start; j < start + length; j++) codes[_problem.Order.Positions[j]] = (byte)_codes[(j * Lanes.Count) + lane];
                if (_sparse is null) continue;
                for (var j = start; j < start + length; j++) KeepOutlier(j, lane);
            }
        }
    }

    private void KeepOutlier(int j, int lane)
    {
        var at = (j * Lanes.Count) + lane;
        if (BitConverter.SingleToInt32Bits(_outliers[at]) != 0) _sparse!.SetOutlier(_n0 + lane, _problem.Order.Positions[j], _weights[at] - _errors[at]);
    }
}

/// <summary>What a grid lets an algorithm choose.</summary>
internal enum ZeroPointFreedom
{
    /// <summary>Nothing: one value everywhere.</summary>
    Fixed,

    /// <summary>An integer among the codes.</summary>
    Integer,

    /// <summary>Any number.</summary>
    Real,
}
