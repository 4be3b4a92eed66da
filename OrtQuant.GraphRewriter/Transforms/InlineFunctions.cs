using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;

namespace OrtQuant.GraphRewriter.Transforms;

/// <summary>
/// Calls of model-local functions that hold matrix products are replaced by the function's nodes, so that each call's weights can be
/// packed. Exact: ONNX Runtime does the same when it loads the model.
/// </summary>
public sealed record InlineFunctions : GraphTransform
{
    internal const string TransformName = "inline-functions";

    /// <inheritdoc/>
    public override string Name => TransformName;

    /// <inheritdoc/>
    public override string Summary => "calls of functions that hold weights become the functions' nodes";

    internal static InlineFunctions Read(JsonReader json)
    {
        json.Finish();
        return new InlineFunctions();
    }

    /// <summary>Whether the model has functions that can be inlined for their weights.</summary>
    internal static bool IsNeeded(OnnxModel model) => model.Proto.Functions.Count > 0 && new FunctionInliner(model.Proto).Inlinable.Count > 0;

    internal override void WriteTo(JsonObject json)
    {
    }

    internal override void Apply(OnnxModel model) => model.Edit(proto => new FunctionInliner(proto).Run());
}
