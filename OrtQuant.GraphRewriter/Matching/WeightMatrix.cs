using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Adoption;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Matching;

/// <summary>
/// A constant seen as the weight <c>[N, K]</c> of a linear node, or as the rows <c>[N, K]</c> of an embedding table. Two readers
/// of the same matrix have equal values here, whatever chain of nodes they read it through.
/// </summary>
/// <param name="Root">The initializer, or the output of the Constant node.</param>
/// <param name="Shape">N outputs (rows of a table), K inputs (width of a table).</param>
/// <param name="StoredTransposed">The tensor holds <c>[K, N]</c>, as MatMul reads it, not <c>[N, K]</c>.</param>
/// <param name="Scale">Factor on every weight: a Gemm's alpha, else 1.</param>
/// <param name="Type">Element type at the reader, which its activations share.</param>
internal sealed record WeightMatrix(OnnxValue Root, WeightShape Shape, bool StoredTransposed, float Scale, ElementType Type)
{
    /// <summary>The tensor as the file holds it: of a half-precision one that is read as float32, the half-precision one, which has the same values.</summary>
    internal LazyTensor Tensor => Root.Constant switch
    {
        ConvertedTensor { Source: { Type: not ElementType.Float64 } source } => source,
        var tensor => tensor!,
    };

    /// <summary>The weight is in codes already: those, with their scales; <see cref="Root"/> holds the codes.</summary>
    internal StoredCodes? Quantized { get; init; }

    /// <summary>The tensor's own element type.</summary>
    internal ElementType StoredType => Tensor.Type;

    /// <summary>The weight in float, read on demand.</summary>
    internal IWeightSource Open()
    {
        if (Quantized is not null) return Quantized.Capture();
        IWeightSource source = new TensorWeight(Tensor, Shape, StoredTransposed);
        return Scale == 1 ? source : new ScaledWeight(source, Scale);
    }

    /// <summary>The matrix of a constant that a MatMul or Gemm reads as B (<c>[K, N]</c>, or <c>[N, K]</c> with transB).</summary>
    internal static WeightMatrix? OfLinear(ConstantView view, bool transB, float scale, out Mismatch? mismatch)
    {
        mismatch = Check(view);
        if (mismatch is not null) return null;
        var (rows, columns, columnMajor) = view.Layout.AsMatrix()!.Value;
        var shape = transB ? new WeightShape(rows, columns) : new WeightShape(columns, rows);
        return new WeightMatrix(view.Root, shape, transB ? columnMajor : !columnMajor, scale, view.Type);
    }

    /// <summary>The matrix of a constant whose rows (axis 0) are gathered.</summary>
    internal static WeightMatrix? OfTable(ConstantView view) =>
        view.Shape.Count == 2 && Check(view) is null && view.Layout.AsMatrix() is var (rows, columns, columnMajor)
            ? new WeightMatrix(view.Root, new WeightShape(rows, columns), columnMajor, 1, view.Type)
            : null;

    private static Mismatch? Check(ConstantView view)
    {
        var shape = $"[{string.Join(", ", view.Shape)}]";
        if (!view.Type.IsFloat() || !view.Tensor.Type.IsFloat())
        {
            return Mismatch.LeftAlone($"weight is {view.Tensor.Type.ToString().ToLowerInvariant()}; it must be float16, bfloat16, float32 or float64");
        }

        if (view.Shape.Any(dimension => dimension == 0)) return Mismatch.LeftAlone($"weight has shape {shape}, which is empty");
        if (view.Shape.Count < 2) return Mismatch.LeftAlone($"weight has shape {shape}; it must be a matrix");
        if (view.Shape.SkipLast(2).Any(dimension => dimension != 1))
        {
            return Mismatch.LeftAlone($"weight has shape {shape}, a matrix for each batch or expert; it must be one matrix");
        }

        return view.Layout.AsMatrix() is null
            ? Mismatch.LeftAlone($"weight of shape {shape} lies in memory as neither [K, N] nor [N, K]")
            : null;
    }
}
