using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;

namespace OrtQuant.GraphRewriter.Transforms;

/// <summary>
/// float16 and bfloat16 activations become float32 inside the graph: ONNX Runtime's CPU provider computes in float32 anyway, with a cast before
/// and after every node that has no half kernel.
/// </summary>
/// <param name="Io">Whether inputs and outputs change, too.</param>
public sealed record Float32Activations(InterfaceType Io) : GraphTransform
{
    internal const string TransformName = "float32-activations";

    private static readonly Dictionary<InterfaceType, string> Names = new() { [InterfaceType.Keep] = "keep", [InterfaceType.Float32] = "fp32" };

    /// <inheritdoc/>
    public override string Name => TransformName;

    /// <inheritdoc/>
    public override string Summary => Io == InterfaceType.Keep
        ? "half-precision activations become float32; inputs and outputs keep their types"
        : "half-precision activations become float32, inputs and outputs too";

    internal static Float32Activations Read(JsonReader json)
    {
        var transform = new Float32Activations(json.Choice("io", InterfaceType.Keep, Names));
        json.Finish();
        return transform;
    }

    internal static bool IsNeeded(OnnxModel model) => HalfToFloat.IsNeeded(model);

    internal override void WriteTo(JsonObject json) => json["io"] = Names[Io];

    internal override void Apply(OnnxModel model) => HalfToFloat.Run(model, convertInterface: Io == InterfaceType.Float32);
}
