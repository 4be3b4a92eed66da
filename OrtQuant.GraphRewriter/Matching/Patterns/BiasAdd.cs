using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using static OrtQuant.GraphRewriter.Matching.Pattern;

namespace OrtQuant.GraphRewriter.Matching.Patterns;

/// <summary><c>Add(Y, bias)</c> after a linear node, which nothing else reads.</summary>
internal static class BiasAdd
{
    /// <summary>The same use with the Add taken in, or as it was.</summary>
    internal static LinearUse Fuse(LinearUse linear)
    {
        var y = linear.Y;
        if (y.IsGraphOutput || y.Uses.Count != 1 || y.Uses[0].Node.Graph != linear.Node.Graph) return linear;
        var add = y.Uses[0].Node;
        var match = Node("Add", Is(y), Constant("bias")).EitherOrder().Match(add);
        if (match.Bindings?.Constant("bias") is not { } bias || !IsVector(bias, linear.Weight, linear.X.Shape?.Count ?? 1)) return linear;
        return linear with { Bias = new LinearBias(bias, 1), BiasAdd = add, Y = add.Outputs[0]! };
    }

    /// <summary>Whether a constant adds the same N values, or one value, to every row without changing the shape.</summary>
    /// <param name="bias">The constant.</param>
    /// <param name="weight">The weight whose outputs it is added to.</param>
    /// <param name="rank">Dimensions that the outputs are known to have at least.</param>
    internal static bool IsVector(ConstantView bias, WeightMatrix weight, int rank) =>
        bias.Type == weight.Type
        && bias.Tensor.Type.IsFloat()
        && bias.Shape.Count <= rank
        && bias.Shape.SkipLast(1).All(dimension => dimension == 1)
        && (bias.Shape.Count == 0 || bias.Shape[^1] == 1 || bias.Shape[^1] == weight.Shape.N);
}
