using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Transforms.Attention;

namespace OrtQuant.GraphRewriter.Transforms;

/// <summary>
/// The attention of a decoder layer that an exporter wrote as some twenty nodes becomes one operator, <c>ortquant::MaskedAttention</c>, which computes the same with the
/// graph's own mask and angles; inputs and outputs of the model keep name, shape and type.
/// </summary>
public sealed record FuseAttention : GraphTransform
{
    internal const string TransformName = "fuse-attention";

    /// <inheritdoc/>
    public override string Name => TransformName;

    /// <inheritdoc/>
    public override string Summary => "attention that an export spreads over many nodes is one operator";

    internal static FuseAttention Read(JsonReader json)
    {
        json.Finish();
        return new FuseAttention();
    }

    internal override void WriteTo(JsonObject json)
    {
    }

    internal override void Apply(OnnxModel model) => AttentionFuser.Run(model);
}
