using OrtQuant.GraphRewriter.Graph;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;

namespace OrtQuant.GraphRewriter.Adoption;

/// <summary>How the codes of a weight lie in their tensor.</summary>
internal enum CodeLayout
{
    /// <summary><c>com.microsoft::MatMulNBits</c>: rows of whole blocks, lowest bits first; zero points packed along a row.</summary>
    Rows,

    /// <summary>A tensor <c>[N, K]</c> of small integers, packed as ONNX packs them; one zero point element a group.</summary>
    RowMajor,

    /// <summary>The same as <c>[K, N]</c>; scales and zero points are <c>[groups, N]</c>.</summary>
    ColumnMajor,

    /// <summary>This project's own layout.</summary>
    N16,
}

/// <summary>
/// A weight that is quantized already: codes in groups of consecutive k, with a scale each, wherever they are stored. Codes and zero points
/// are unsigned here: those of signed types are shifted by 2^(bits-1), both, which changes no weight.
/// </summary>
/// <param name="Codes">The packed codes.</param>
/// <param name="Scales">One for each group.</param>
/// <param name="ZeroPoints">One for each group; null: 2^(bits-1), or 0 where <see cref="ZeroIsZero"/>.</param>
/// <param name="Shape">N outputs, K inputs.</param>
/// <param name="Bits">Width of a code: 2, 4 or 8 (3 in <see cref="CodeLayout.N16"/>).</param>
/// <param name="GroupSize">As in <see cref="GroupParameters"/>.</param>
/// <param name="Layout">How they lie in their tensors.</param>
internal sealed record StoredCodes(
    OnnxValue Codes, OnnxValue Scales, OnnxValue? ZeroPoints, WeightShape Shape, int Bits, int GroupSize, CodeLayout Layout)
{
    /// <summary>The codes are of a signed type.</summary>
    internal bool IsSigned { get; init; }

    /// <summary>A missing zero point means 0, not the middle of the codes: DequantizeLinear of an unsigned type.</summary>
    internal bool ZeroIsZero { get; init; }

    /// <summary>There is one scale for all outputs.</summary>
    internal bool IsPerTensor { get; init; }

    /// <summary>Takes hold of the data, which stays readable when the values leave the graph.</summary>
    internal AdoptedCodes Capture() => new(this);
}
