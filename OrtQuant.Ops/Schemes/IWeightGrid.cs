namespace OrtQuant.Schemes;

/// <summary>
/// The values that one weight can take in a scheme, and the ones that were chosen. A quantizer drives it in two steps:
/// <b>fit</b> fixes the parameters of groups (scales, zero points, ...) exactly as they will be stored, then <b>round</b> picks the code of
/// each value against those stored parameters and answers with the value that the code stands for. An error-feedback
/// quantizer may fit again any group that it has not rounded yet.
/// </summary>
/// <remarks>
/// Calls for disjoint sets of rows, aligned to <see cref="RowBlock"/>, may run in parallel. Values must be finite:
/// anything else raises <see cref="OrtQuantException"/>. Disposing a grid lets the next one use its memory; one that is not disposed is
/// collected like any object.
/// </remarks>
public interface IWeightGrid : IDisposable
{
    /// <summary>Shape of the weight.</summary>
    WeightShape Shape { get; }

    /// <summary>Parameters of the scheme that the grid belongs to.</summary>
    SchemeParameters Parameters { get; }

    /// <summary>Number of consecutive k that share parameters (the last group of a row may be shorter).</summary>
    int GroupSize { get; }

    /// <summary>Groups in a row, <c>ceil(K / GroupSize)</c>.</summary>
    int GroupCount { get; }

    /// <summary>Number of consecutive rows whose parameters depend on each other; 1 where rows are independent.</summary>
    int RowBlock { get; }

    /// <summary>Fits every parameter of rows <c>n0 .. n0 + count - 1</c>.</summary>
    /// <param name="n0">First row, a multiple of <see cref="RowBlock"/>.</param>
    /// <param name="count">Number of rows: a multiple of <see cref="RowBlock"/>, or up to the last row.</param>
    /// <param name="values">The weights <c>[count, K]</c>, row-major.</param>
    /// <param name="importance">
    /// Empty: cover the range of each group (round to nearest). Else K non-negative weights of the squared errors, the same for all
    /// rows, for example the second moments of the inputs: minimize the weighted squared error.
    /// </param>
    void FitRows(long n0, int count, ReadOnlySpan<float> values, ReadOnlySpan<float> importance);

    /// <summary>
    /// Fits again the parameters that belong to group <paramref name="g"/> of row <paramref name="n"/> alone; whatever is shared with
    /// other groups stays as the last <see cref="FitRows"/> left it.
    /// </summary>
    /// <param name="n">Row.</param>
    /// <param name="g">Group, <c>0 .. GroupCount - 1</c>.</param>
    /// <param name="values">The values of the group: <c>min(GroupSize, K - g * GroupSize)</c> of them.</param>
    /// <param name="importance">Empty, or one weight for each value, as in <see cref="FitRows"/>.</param>
    void Fit(long n, int g, ReadOnlySpan<float> values, ReadOnlySpan<float> importance);

    /// <summary>
    /// Chooses and keeps the codes of row <paramref name="n"/>, positions <c>k .. k + values.Length - 1</c>, which may cross groups
    /// but whose groups must be fitted.
    /// </summary>
    /// <param name="n">Row.</param>
    /// <param name="k">First position.</param>
    /// <param name="values">The values to represent.</param>
    /// <param name="dequantized">The values that the chosen codes stand for; same length, may be the same memory. Empty if not wanted.</param>
    void Round(long n, int k, ReadOnlySpan<float> values, Span<float> dequantized);

    /// <summary>The values that the kept codes of row <paramref name="n"/> stand for, <c>[K]</c>.</summary>
    void Dequantize(long n, Span<float> row);
}

/// <summary>
/// A grid whose groups are <c>w = scale * (q - zero point)</c> with q in <c>0 .. MaxCode</c>: algorithms that solve for scale and zero point
/// themselves (HQQ, merging adapters into zero points, adopting a quantized model) set them here.
/// </summary>
public interface IAffineGrid : IWeightGrid
{
    /// <summary>Largest code of any group, <c>2^bits - 1</c>.</summary>
    int MaxCode { get; }

    /// <summary>Largest code of a group; the same for all rows of a <see cref="IWeightGrid.RowBlock"/>.</summary>
    /// <param name="n">Row.</param>
    /// <param name="g">Group.</param>
    int MaxCodeOf(long n, int g) => MaxCode;

    /// <summary>Sets the parameters of a group, rounded to what can be stored.</summary>
    /// <param name="n">Row.</param>
    /// <param name="g">Group.</param>
    /// <param name="scale">Scale; finite.</param>
    /// <param name="zeroPoint">Zero point in units of codes; rounded and clamped to <c>0 .. MaxCode</c> if stored as an integer.</param>
    void SetGroup(long n, int g, float scale, float zeroPoint);

    /// <summary>The parameters of a group as they will be stored, widened to float.</summary>
    (float Scale, float ZeroPoint) GetGroup(long n, int g);

    /// <summary>The codes of row <paramref name="n"/>, one byte each, <c>[K]</c>; writable.</summary>
    Span<byte> Codes(long n);
}

/// <summary>
/// An affine grid whose rows have a scale of their own, of which the scales of groups are multiples: <see cref="IAffineGrid.SetGroup"/> takes the nearest
/// that the row's scale permits. <see cref="IWeightGrid.FitRows"/> chooses it, or it is set here before the groups are.
/// </summary>
public interface IRowScaledGrid : IAffineGrid
{
    /// <summary>Sets the scale of a row.</summary>
    /// <param name="n">Row.</param>
    /// <param name="scale">Finite, not negative.</param>
    void SetRowScale(long n, float scale);

    /// <summary>The scale of a row.</summary>
    float GetRowScale(long n);
}

/// <summary>A grid whose groups are <c>w = offset + sum over planes i of alpha_i * (2 c_i - 1)</c>, c_i bit i of the code: for algorithms that solve for the coefficients themselves.</summary>
public interface IBinaryCodedGrid : IWeightGrid
{
    /// <summary>Number of planes, the bits of a code.</summary>
    int Planes { get; }

    /// <summary>Sets the parameters of a group, rounded to what can be stored.</summary>
    /// <param name="n">Row.</param>
    /// <param name="g">Group.</param>
    /// <param name="alphas">Coefficients of the planes, finite; as many as <see cref="Planes"/>.</param>
    /// <param name="offset">Offset, finite.</param>
    void SetGroup(long n, int g, ReadOnlySpan<float> alphas, float offset);

    /// <summary>The parameters of a group as they will be stored, widened to float.</summary>
    /// <param name="n">Row.</param>
    /// <param name="g">Group.</param>
    /// <param name="alphas">Destination of the coefficients, <see cref="Planes"/> of them.</param>
    /// <returns>The offset.</returns>
    float GetGroup(long n, int g, Span<float> alphas);

    /// <summary>The codes of row <paramref name="n"/>, one byte each, <c>[K]</c>; writable.</summary>
    Span<byte> Codes(long n);
}

/// <summary>
/// An affine grid that holds a few weights by numbers of their own beside the groups, and whose groups need not have the same width. Both are chosen by
/// <see cref="IWeightGrid.FitRows"/>, for which the importance therefore matters, and stay. <see cref="IWeightGrid.Round"/> sets outliers to what their groups leave.
/// </summary>
public interface ISparseGrid : IAffineGrid
{
    /// <summary>Whether a position is held by a number of its own: (nearly) any value.</summary>
    /// <param name="n">Row.</param>
    /// <param name="k">Position.</param>
    bool IsOutlier(long n, int k);

    /// <summary>Makes an outlier, together with its code and the parameters of its group as they are now, stand for the nearest to a value.</summary>
    /// <param name="n">Row.</param>
    /// <param name="k">Position, of an outlier.</param>
    /// <param name="value">The value.</param>
    void SetOutlier(long n, int k, float value);
}
