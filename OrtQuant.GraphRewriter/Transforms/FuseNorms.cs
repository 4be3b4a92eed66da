using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Transforms.Norms;

namespace OrtQuant.GraphRewriter.Transforms;

/// <summary>
/// RMS norms that an exporter wrote as eight nodes become ONNX Runtime's own operator, with the addition before them where there is one. ONNX Runtime would find
/// them, too, but only after it has built every one of those nodes, whose memory stays with the session.
/// </summary>
public sealed record FuseNorms : GraphTransform
{
    internal const string TransformName = "fuse-norms";

    /// <inheritdoc/>
    public override string Name => TransformName;

    /// <inheritdoc/>
    public override string Summary => "an RMS norm that is written out is one operator";

    internal static FuseNorms Read(JsonReader json)
    {
        json.Finish();
        return new FuseNorms();
    }

    internal override void WriteTo(JsonObject json)
    {
    }

    internal override void Apply(OnnxModel model) => NormFuser.Run(model);
}
