using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Adapters;
using OrtQuant.GraphRewriter.Adoption;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Matching;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Weights;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Rewriting;

/// <summary>Part of the result of a linear node that stands for several: these columns were the result of one of them.</summary>
/// <param name="Use">The node it was.</param>
/// <param name="N">Its number of outputs.</param>
internal sealed record LinearPart(LinearUse Use, long N);

/// <summary>
/// A weight on its way into the rewritten graph: where its values come from, as lazy views that transforms stack up, how it will be stored,
/// and who reads it.
/// </summary>
internal sealed class PackedWeight
{
    internal PackedWeight(PlannedWeight plan, WeightMatrix matrix, IEnumerable<LinearUse> linears, IEnumerable<TableUse> tables)
    {
        Name = plan.Name;
        Plan = plan;
        Matrix = matrix;
        Source = matrix.Open();
        Linears = [.. linears.Select(use => new[] { new LinearPart(use, matrix.Shape.N) })];
        Tables = [.. tables];
        Parts = [plan];
        Adopted = Source is AdoptedCodes codes ? [codes] : [];
        Roots = [matrix.Root];
        Changes = [];
    }

    private PackedWeight(IReadOnlyList<PackedWeight> parts)
    {
        Name = parts[0].Name;
        Plan = parts[0].Plan;
        Matrix = parts[0].Matrix;
        Source = new ConcatenatedWeight([.. parts.Select(part => part.Source)]);
        Linears = [[.. parts.SelectMany(part => part.Linears[0])]];
        Tables = [];
        Parts = [.. parts.SelectMany(part => part.Parts)];
        Adopted = [.. parts.SelectMany(part => part.Adopted)];
        Roots = [.. parts.SelectMany(part => part.Roots)];
        Changes = [];
        var row = 0L;
        foreach (var part in parts)
        {
            Changes.AddRange(part.Changes.Select(change => change.Moved(row)));
            row += part.Shape.N;
        }
    }

    /// <summary>Name in the plan; of a stack, that of its first part.</summary>
    internal string Name { get; }

    /// <summary>How it is stored and computed; of a stack, what its parts agree on.</summary>
    internal PlannedWeight Plan { get; }

    /// <summary>The entries of the plan that it stands for.</summary>
    internal IReadOnlyList<PlannedWeight> Parts { get; }

    /// <summary>What it is made of where it is quantized already, one on top of the other.</summary>
    internal IReadOnlyList<AdoptedCodes> Adopted { get; }

    /// <summary>The constants that the values come from.</summary>
    internal IReadOnlyList<OnnxValue> Roots { get; }

    /// <summary>The matrix it started from; of a stack, that of the first part.</summary>
    internal WeightMatrix Matrix { get; }

    /// <summary>Type of X and Y.</summary>
    internal ElementType Type => Matrix.Type;

    /// <summary>The values. Transforms replace it by views of itself.</summary>
    internal IWeightSource Source { get; set; }

    /// <summary>Changes by an adapter that leave the codes alone: low-rank inputs, or shifts of zero points.</summary>
    internal List<LowRankChange> Changes { get; }

    internal WeightShape Shape => Source.Shape;

    /// <summary>For each linear node of the rewritten graph, the nodes that it stands for, their outputs side by side.</summary>
    internal List<LinearPart[]> Linears { get; }

    /// <summary>Gathers of rows.</summary>
    internal List<TableUse> Tables { get; }

    /// <summary>Weights that read the same X, one on top of the other.</summary>
    internal static PackedWeight Stack(IReadOnlyList<PackedWeight> parts) => new(parts);

    /// <summary>Why this weight and another cannot be stacked, or null.</summary>
    internal string? Obstacle(PackedWeight other)
    {
        if (Linears.Count != 1 || Tables.Count > 0) return "it is read by several nodes";
        var (use, with) = (Linears[0][0].Use, other.Linears[0][0].Use);
        if (!ReferenceEquals(use.X, with.X)) return $"they read '{use.X.Name}' and '{with.X.Name}'; they must read one value";
        if (use.Node.Graph != with.Node.Graph) return "they are in different graphs";
        if (use.TransposeX || use.Addend is not null) return "its Gemm transposes X or adds a matrix";
        return Type == other.Type ? null : $"their types are {Type} and {other.Type}";
    }
}
