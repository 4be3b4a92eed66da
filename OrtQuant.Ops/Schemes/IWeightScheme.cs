using System.Text.Json.Nodes;
using OrtQuant.Descriptions;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes;

/// <summary>
/// A way to hold a weight in few bits: the geometry of its stored tensors, the grid of values it can represent, and the
/// bytes. A scheme never searches and never reads a model: which values the grid takes is chosen by a quantizer through
/// <see cref="CreateGrid"/>. The bytes are specified in <c>Schemes/&lt;Name&gt;/SPEC.md</c>; implementations are thread-safe and hold no state.
/// </summary>
public interface IWeightScheme
{
    /// <summary>The one name of the scheme: command line, JSON <c>scheme</c>, folder (for example <c>group</c>).</summary>
    string Name { get; }

    /// <summary>A few words for lists, for example <c>groups of 2, 3, 4 or 8 bits with a scale each</c>.</summary>
    string Title { get; }

    /// <summary>The paper or format that the scheme comes from.</summary>
    string Paper { get; }

    /// <summary>The op that consumes the stored tensors.</summary>
    OpDescription Op { get; }

    /// <summary>How far the kernels may be from the dequantized weights.</summary>
    SchemeQuality Quality { get; }

    /// <summary>The parameters used where the user gives none.</summary>
    SchemeParameters DefaultParameters { get; }

    /// <summary>Parameter sets that tests and documentation walk through: every code path of the format at least once.</summary>
    IReadOnlyList<SchemeParameters> Samples { get; }

    /// <summary>Reads parameters from their JSON form. Absent members take the value they have in <see cref="DefaultParameters"/>.</summary>
    /// <exception cref="OrtQuantException">A member is unknown, of the wrong type, or outside its permitted values.</exception>
    SchemeParameters Parse(JsonObject json);

    /// <summary>The JSON form of parameters; <see cref="Parse"/> gives them back.</summary>
    JsonObject ToJson(SchemeParameters parameters);

    /// <summary>
    /// The stored tensors of a weight, in the order of the op's inputs. A pure function of its arguments, so that a writer can
    /// fix every offset before the first weight is read.
    /// </summary>
    /// <exception cref="OrtQuantException">The scheme cannot hold this shape with these parameters.</exception>
    IReadOnlyList<TensorSpec> Tensors(WeightShape shape, SchemeParameters parameters);

    /// <summary>Stored bits (codes, scales, zero points, padding) divided by the number of weights.</summary>
    double BitsPerWeight(WeightShape shape, SchemeParameters parameters) =>
        Tensors(shape, parameters).Sum(tensor => (double)tensor.ByteLength) * 8 / shape.Count;

    /// <summary>The attributes of the node that reads these tensors.</summary>
    /// <param name="shape">Shape of the weight.</param>
    /// <param name="parameters">Parameters of the scheme.</param>
    /// <param name="accuracyLevel">0 or 1 (float), 4 (int8 activations), as in <c>com.microsoft::MatMulNBits</c>.</param>
    IReadOnlyList<OpAttributeValue> Attributes(WeightShape shape, SchemeParameters parameters, int accuracyLevel);

    /// <summary>Every op that the scheme brings, <see cref="Op"/> first.</summary>
    IReadOnlyList<OpDescription> Ops => GatherOp is { } gather ? [Op, gather] : [Op];

    /// <summary>The op that reads rows of the stored tensors: an embedding that shares them with a head. Null where the scheme has none.</summary>
    OpDescription? GatherOp => null;

    /// <summary>The attributes of a node of <see cref="GatherOp"/>.</summary>
    /// <param name="shape">Shape of the weight: N rows of K.</param>
    /// <param name="parameters">Parameters of the scheme.</param>
    /// <param name="outputType">Type of the rows: Float32 or Float16.</param>
    /// <exception cref="NotSupportedException">The scheme has no such op.</exception>
    IReadOnlyList<OpAttributeValue> GatherAttributes(WeightShape shape, SchemeParameters parameters, ElementType outputType) =>
        throw new NotSupportedException($"scheme '{Name}' has no op that gathers rows");

    /// <summary>
    /// The scheme of language-model heads and embeddings where other weights take this one. A head may share its bytes with an embedding, and by default has more
    /// bits than the rest: a scheme without <see cref="GatherOp"/>, or of few bits only, names another.
    /// </summary>
    IWeightScheme HeadScheme => this;

    /// <summary>
    /// The parameters with which this scheme holds a weight of scheme <c>group</c> code by code, so that both dequantize to the same bits: what a weight that is
    /// quantized already becomes. Null where it cannot, and that weight stays in scheme <c>group</c>. Grids of such parameters are <see cref="IAffineGrid"/>s.
    /// </summary>
    /// <param name="parameters">How the weight is quantized.</param>
    SchemeParameters? Holding(GroupParameters parameters) => null;

    /// <summary>
    /// Whether the parameter <c>bits</c> is the stored bits per weight, scales and all, and may have a fraction: such a scheme mixes widths within a weight, and
    /// a user's fractional bits are its own to meet.
    /// </summary>
    bool BitsIncludeEverything => false;

    /// <summary>An empty grid for one weight: parameters not fitted, codes not chosen.</summary>
    IWeightGrid CreateGrid(WeightShape shape, SchemeParameters parameters);

    /// <summary>
    /// Writes a grid as the bytes of <see cref="Tensors"/>, padding included. The bytes do not depend on the number of threads.
    /// </summary>
    /// <param name="grid">A grid of this scheme, fitted and rounded throughout.</param>
    /// <param name="tensors">One destination for each entry of <see cref="Tensors"/>, of exactly its length.</param>
    /// <param name="threads">Most threads to use; 0 for one per processor.</param>
    void Encode(IWeightGrid grid, IReadOnlyList<Memory<byte>> tensors, int threads = 0);

    /// <summary>Reads stored tensors back into a grid that holds the same parameters and codes.</summary>
    /// <param name="tensors">The bytes of each entry of <see cref="Tensors"/>.</param>
    /// <param name="shape">Shape of the weight.</param>
    /// <param name="parameters">Parameters of the scheme.</param>
    /// <param name="threads">Most threads to use; 0 for one per processor.</param>
    IWeightGrid Read(IReadOnlyList<ReadOnlyMemory<byte>> tensors, WeightShape shape, SchemeParameters parameters, int threads = 0);

    /// <summary>Dequantizes rows <c>n0 .. n0 + count - 1</c>, bit for bit as the native <c>ortq_unpack</c> does.</summary>
    /// <param name="tensors">The bytes of each entry of <see cref="Tensors"/>.</param>
    /// <param name="shape">Shape of the weight.</param>
    /// <param name="parameters">Parameters of the scheme.</param>
    /// <param name="n0">First row.</param>
    /// <param name="count">Number of rows.</param>
    /// <param name="rows">Destination <c>[count, K]</c>, row-major.</param>
    void DecodeRows(
        IReadOnlyList<ReadOnlyMemory<byte>> tensors, WeightShape shape, SchemeParameters parameters, long n0, int count, Span<float> rows);
}

/// <summary>Conveniences over <see cref="IWeightScheme"/>.</summary>
public static class WeightSchemeExtensions
{
    /// <summary>Dequantizes a whole weight into <c>[N, K]</c>, row-major.</summary>
    public static void Decode(
        this IWeightScheme scheme, IReadOnlyList<ReadOnlyMemory<byte>> tensors, WeightShape shape, SchemeParameters parameters, Span<float> weights) =>
        scheme.DecodeRows(tensors, shape, parameters, 0, checked((int)shape.N), weights);

    /// <summary>Encodes a grid into new arrays, one for each stored tensor: for small weights and tests.</summary>
    public static IReadOnlyList<byte[]> Encode(this IWeightScheme scheme, IWeightGrid grid)
    {
        var tensors = scheme.Tensors(grid.Shape, grid.Parameters).Select(spec => new byte[spec.ByteLength]).ToArray();
        scheme.Encode(grid, [.. tensors.Select(tensor => tensor.AsMemory())]);
        return tensors;
    }
}
