using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;

namespace OrtQuant.GraphRewriter.Adoption;

/// <summary>The data of a weight that is quantized already: its codes, scales and zero points, to be stored elsewhere unchanged.</summary>
internal sealed class AdoptedCodes : IWeightSource
{
    private readonly StoredCodes _stored;
    private readonly LazyTensor _codes;
    private readonly LazyTensor _scales;
    private readonly LazyTensor? _zeroPoints;
    private readonly Lazy<EncodedWeight> _encoded;

    internal AdoptedCodes(StoredCodes stored)
    {
        _stored = stored;
        _codes = stored.Codes.Constant!;
        _scales = stored.Scales.Constant!;
        _zeroPoints = stored.ZeroPoints?.Constant;
        _encoded = new Lazy<EncodedWeight>(Encode);
    }

    /// <inheritdoc/>
    public WeightShape Shape => _stored.Shape;

    private int Bits => _stored.Bits;

    private int Groups => _stored.GroupSize == GroupParameters.WholeRow ? 1 : (int)((Shape.K + _stored.GroupSize - 1) / _stored.GroupSize);

    private ZeroPointKind Kind => _zeroPoints is null ? (_stored.ZeroIsZero ? ZeroPointKind.Integer : ZeroPointKind.None)
        : _zeroPoints.Type.IsFloat() ? ZeroPointKind.Float : ZeroPointKind.Integer;

    /// <summary>The parameters that hold exactly these groups: float16 scales where that loses nothing. Reads the scales.</summary>
    internal GroupParameters Parameters()
    {
        var isHalf = IsHalf(_scales) && (Kind != ZeroPointKind.Float || IsHalf(_zeroPoints!));
        return new GroupParameters(Bits, _stored.GroupSize, Kind, isHalf ? ElementType.Float16 : ElementType.Float32);
    }

    /// <summary>Puts codes, scales and zero points into a grid, unchanged.</summary>
    /// <param name="grid">A grid of <see cref="Parameters"/>.</param>
    /// <param name="firstRow">The row of the grid where this weight begins.</param>
    /// <param name="threads">Threads to use.</param>
    internal void Fill(IAffineGrid grid, long firstRow, int threads)
    {
        if (_stored.Layout == CodeLayout.N16)
        {
            FillFromOwnLayout(grid, firstRow, threads);
            return;
        }

        var codes = _codes.ReadBytes();
        var scales = _scales.ReadFloats();
        var zeroPoints = ReadZeroPoints();
        var groups = Groups;
        var options = new ParallelOptions { MaxDegreeOfParallelism = Math.Max(1, threads) };
        Parallel.For(0, (int)Shape.N, options, n =>
        {
            Unpack(codes, n, grid.Codes(firstRow + n)[..(int)Shape.K]);
            for (var g = 0; g < groups; g++)
            {
                var at = _stored.IsPerTensor ? 0 : _stored.Layout == CodeLayout.ColumnMajor ? (g * Shape.N) + n : ((long)n * groups) + g;
                var zeroPoint = zeroPoints is null ? (_stored.ZeroIsZero ? 0 : 1 << (Bits - 1)) : zeroPoints[_stored.IsPerTensor && zeroPoints.Length == 1 ? 0 : at];
                grid.SetGroup(firstRow + n, g, scales[at], zeroPoint);
            }
        });
    }

    /// <inheritdoc/>
    public void ReadRows(long n0, int count, Span<float> rows) => _encoded.Value.ReadRows(n0, count, rows);

    private EncodedWeight Encode()
    {
        var (scheme, parameters) = (GroupScheme.Instance, Parameters());
        using var grid = (IAffineGrid)scheme.CreateGrid(Shape, parameters);
        Fill(grid, 0, Environment.ProcessorCount);
        var tensors = scheme.Tensors(Shape, parameters).Select(spec => new byte[spec.ByteLength]).ToArray();
        scheme.Encode(grid, [.. tensors.Select(tensor => tensor.AsMemory())]);
        return new EncodedWeight(scheme, Shape, parameters, [.. tensors.Select(tensor => (ReadOnlyMemory<byte>)tensor)]);
    }

    private void FillFromOwnLayout(IAffineGrid grid, long firstRow, int threads)
    {
        var tensors = new[] { _codes, _scales, _zeroPoints }.OfType<LazyTensor>().Select(tensor => (ReadOnlyMemory<byte>)tensor.ReadBytes()).ToArray();
        var parameters = new GroupParameters(Bits, _stored.GroupSize, Kind, _scales.Type);
        using var stored = (IAffineGrid)GroupScheme.Instance.Read(tensors, Shape, parameters, threads);
        for (var n = 0L; n < Shape.N; n++)
        {
            stored.Codes(n)[..(int)Shape.K].CopyTo(grid.Codes(firstRow + n));
            for (var g = 0; g < stored.GroupCount; g++)
            {
                var (scale, zeroPoint) = stored.GetGroup(n, g);
                grid.SetGroup(firstRow + n, g, scale, zeroPoint);
            }
        }
    }

    // One value a group, in the order of the scales.
    private float[]? ReadZeroPoints()
    {
        if (_zeroPoints is not { } tensor) return null;
        if (tensor.Type.IsFloat()) return tensor.ReadFloats();
        var packed = tensor.ReadBytes();
        var count = _stored.Layout == CodeLayout.Rows ? Shape.N * Groups : tensor.Count;
        var values = new float[count];
        var rowBytes = ((Groups * Bits) + 7) / 8;
        for (var i = 0L; i < count; i++)
        {
            values[i] = _stored.Layout == CodeLayout.Rows
                ? CodeAt(packed, i / Groups * rowBytes * 8 / Bits, i % Groups)
                : CodeAt(packed, 0, i);
        }

        return values;
    }

    private void Unpack(byte[] codes, int n, Span<byte> row)
    {
        var first = _stored.Layout switch
        {
            CodeLayout.Rows => (long)n * Groups * _stored.GroupSize,
            CodeLayout.RowMajor => n * Shape.K,
            _ => n,
        };
        var step = _stored.Layout == CodeLayout.ColumnMajor ? Shape.N : 1;
        for (var k = 0; k < row.Length; k++) row[k] = CodeAt(codes, first, k * step);
    }

    // Element first + index of packed integers, lowest bits first, as an unsigned code.
    private byte CodeAt(byte[] packed, long first, long index)
    {
        var bit = (first + index) * Bits;
        var field = (packed[bit >> 3] >> (int)(bit & 7)) & ((1 << Bits) - 1);
        return (byte)(_stored.IsSigned ? field ^ (1 << (Bits - 1)) : field);
    }

    private static bool IsHalf(LazyTensor tensor) =>
        tensor.Type == ElementType.Float16 || Array.TrueForAll(tensor.ReadFloats(), value => (float)(Half)value == value);
}
