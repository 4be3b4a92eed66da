using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Matching;

namespace OrtQuant.GraphRewriter.Planning;

/// <summary>Recognizes the language-model head: the linear whose result, but for element-by-element steps, is an output of the model.</summary>
internal static class HeadFinder
{
    private const int MostSteps = 8;

    internal static bool IsHead(LinearUse linear) => IsHead(linear.Y);

    /// <summary>Whether the result <paramref name="value"/> of a linear is, but for element-by-element steps, an output of the model.</summary>
    internal static bool IsHead(OnnxValue value)
    {
        for (var step = 0; step <= MostSteps; step++)
        {
            if (value.IsGraphOutput && value.Name.Length > 0 && value.Graph.Parent is null) return true;
            if (value.Uses.Count != 1 || !IsElementwise(value.Uses[0].Node, value)) return false;
            value = value.Uses[0].Node.Outputs[0]!;
        }

        return false;
    }

    // A second activation (a residual) would make the result something else than what the linear gives.
    private static bool IsElementwise(OnnxNode node, OnnxValue value) =>
        node.Domain.Length == 0
        && node.OpType is "Cast" or "Identity" or "Add" or "Sub" or "Mul" or "Div" or "Tanh" or "Clip" or "Softmax" or "LogSoftmax"
        && node.Inputs.All(input => input is null || ReferenceEquals(input, value) || ConstantView.IsConstant(input));
}
