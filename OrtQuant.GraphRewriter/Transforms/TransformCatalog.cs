using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Planning;

namespace OrtQuant.GraphRewriter.Transforms;

/// <summary>The transforms that a plan may name. A new transform is one line here.</summary>
internal static class TransformCatalog
{
    private static readonly (string Name, Func<JsonReader, Transform> Read)[] All =
    [
        (InlineFunctions.TransformName, InlineFunctions.Read),
        (SimplifyShapes.TransformName, SimplifyShapes.Read),
        (FuseAttention.TransformName, FuseAttention.Read),
        (MergeAdapter.TransformName, MergeAdapter.Read),
        (Float32Activations.TransformName, Float32Activations.Read),
        (FuseNorms.TransformName, FuseNorms.Read),
        (RotateInputs.TransformName, RotateInputs.Read),
        (ShareEmbedding.TransformName, ShareEmbedding.Read),
        (AttachAdapter.TransformName, AttachAdapter.Read),
        (MergeLinears.TransformName, MergeLinears.Read),
    ];

    internal static JsonObject ToJson(Transform transform)
    {
        var json = new JsonObject { ["transform"] = transform.Name };
        transform.WriteTo(json);
        return json;
    }

    internal static Transform FromJson(JsonReader reader)
    {
        var name = reader.String("transform");
        foreach (var (known, read) in All)
        {
            if (known == name) return read(reader);
        }

        throw new PlanException(
            $"{reader.Path}.transform is '{name}'; it must be one of {string.Join(", ", All.Select(entry => entry.Name))}");
    }
}
