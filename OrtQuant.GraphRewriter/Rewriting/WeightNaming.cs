using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Rewriting;

/// <summary>Names of packed tensors and merged nodes, made of the names the model has.</summary>
internal static class WeightNaming
{
    /// <summary>
    /// Base name of the tensors of a weight: the initializer's, unless an exporter numbered it (<c>onnx::MatMul_1234</c>); then the path
    /// of the first node that reads it.
    /// </summary>
    internal static string Tensor(PackedWeight weight)
    {
        if (weight.Parts.Count == 1 && !weight.Name.Contains("::", StringComparison.Ordinal)) return weight.Name;
        var node = weight.Linears.Count > 0 ? Node(weight.Linears[0]) : weight.Tables[0].Node.DisplayName();
        var path = node.Trim('/').Split('/');
        if (path.Length > 1 && path[^1] is "MatMul" or "Gemm" or "Gather") path = path[..^1];
        return $"{string.Join('.', path)}.weight";
    }

    /// <summary>
    /// Name of the node that stands for several: what their names share at both ends, the differing parts joined:
    /// <c>/layers.0/q_proj/MatMul</c> and <c>/layers.0/k_proj/MatMul</c> give <c>/layers.0/q_proj+k_proj/MatMul</c>.
    /// </summary>
    internal static string Node(IReadOnlyList<LinearPart> parts)
    {
        var paths = parts.Select(part => part.Use.Node.DisplayName().Split('/')).ToList();
        if (paths.Count == 1) return parts[0].Use.Node.DisplayName();
        var shortest = paths.Min(path => path.Length);
        var head = Enumerable.Range(0, shortest).TakeWhile(i => paths.TrueForAll(path => path[i] == paths[0][i])).Count();
        var tail = Enumerable.Range(1, shortest - Math.Min(head, shortest)).TakeWhile(i => paths.TrueForAll(path => path[^i] == paths[0][^i])).Count();
        var middle = string.Join('+', paths.Select(path => string.Join('/', path[head..^tail])));
        return string.Join('/', [.. paths[0][..head], middle, .. paths[0][^tail..]]);
    }
}
