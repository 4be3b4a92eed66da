using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Transforms.Shapes;

namespace OrtQuant.GraphRewriter.Transforms;

/// <summary>
/// The arithmetic on shapes that exporters write for every layer is done once, or when the model is rewritten. Exact: only integer
/// tensors that are proved equal become one. Each node that is left costs a session memory, its loading time, and every run a few microseconds.
/// </summary>
public sealed record SimplifyShapes : GraphTransform
{
    internal const string TransformName = "simplify-shapes";

    /// <inheritdoc/>
    public override string Name => TransformName;

    /// <inheritdoc/>
    public override string Summary => "sizes that nodes compute for every layer are computed once or are constants";

    internal static SimplifyShapes Read(JsonReader json)
    {
        json.Finish();
        return new SimplifyShapes();
    }

    internal override void WriteTo(JsonObject json)
    {
    }

    internal override void Apply(OnnxModel model) => ShapeSimplifier.Run(model);
}
