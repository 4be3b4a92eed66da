using Google.Protobuf;
using Onnx;

namespace OrtQuant.GraphRewriter.Comparison;

/// <summary>Finds the size of a vocabulary in a graph: the rows of the table that the token ids index.</summary>
internal static class EmbeddingTable
{
    // Ids below this exist in every vocabulary.
    private const long Fallback = 16;

    /// <summary>Rows of the table.</summary>
    /// <param name="modelFile">The graph.</param>
    /// <param name="ids">Name of the input with the ids.</param>
    public static long Rows(string modelFile, string ids)
    {
        using var stream = File.OpenRead(modelFile);
        var graph = ModelProto.Parser.ParseFrom(stream).Graph;
        foreach (var node in graph.Node.Where(node => node.Input.Contains(ids)))
        {
            if (node.Attribute.FirstOrDefault(attribute => attribute.Name == "N") is { } rows)
            {
                return rows.I;
            }

            var table = graph.Initializer.FirstOrDefault(tensor => tensor.Name == node.Input[0] && tensor.Dims.Count >= 2);
            if (table is not null && node.OpType.StartsWith("Gather", StringComparison.Ordinal))
            {
                return table.Dims[0];
            }
        }

        return Fallback;
    }
}
