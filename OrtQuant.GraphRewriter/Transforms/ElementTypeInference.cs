using Onnx;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Transforms;

/// <summary>
/// Element types of values that the model does not declare, from the operators that produce them. Only operators whose rule is known have a
/// result: a type that is given is right.
/// </summary>
internal sealed class ElementTypeInference
{
    private static readonly HashSet<string> SameAsFirstInput =
    [
        "Abs", "Add", "Attention", "AveragePool", "BatchNormalization", "Ceil", "Clip", "Compress", "Concat", "Conv", "ConvTranspose", "Cos", "CumSum",
        "DepthToSpace", "Div", "Dropout", "Einsum", "Elu", "Erf", "Exp", "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Gelu",
        "Gemm", "GlobalAveragePool", "GroupNormalization", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization", "LayerNormalization", "LeakyRelu",
        "Log", "LogSoftmax", "LpNormalization", "MatMul", "Max", "MaxPool", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Pad", "Pow", "PRelu", "RMSNormalization",
        "Range", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
        "ReduceSumSquare", "Relu", "Reshape", "Resize", "RotaryEmbedding", "Round", "Scatter", "ScatterElements", "ScatterND", "Sigmoid", "Sign",
        "SimplifiedLayerNormalization", "Sin", "Slice", "Softmax", "Softplus", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Swish", "Tan",
        "Tanh", "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze",
        "com.microsoft:Attention", "com.microsoft:BiasGelu", "com.microsoft:FastGelu", "com.microsoft:FusedMatMul", "com.microsoft:Gelu",
        "com.microsoft:GroupQueryAttention", "com.microsoft:MatMulNBits", "com.microsoft:MultiHeadAttention", "com.microsoft:QuickGelu",
        "com.microsoft:RotaryEmbedding", "com.microsoft:SkipLayerNormalization", "com.microsoft:SkipSimplifiedLayerNormalization", "ortquant:MatMulNBits",
    ];

    // Outputs after the first that are of another type than it, or of one that depends on more than the inputs.
    private static readonly HashSet<string> OneKnownOutput =
    [
        "BatchNormalization", "Dropout", "LayerNormalization", "MaxPool", "SimplifiedLayerNormalization", "TopK", "com.microsoft:SkipLayerNormalization",
        "com.microsoft:GroupQueryAttention", "com.microsoft:MultiHeadAttention", "com.microsoft:Attention", "Attention",
    ];

    private static readonly HashSet<string> Predicates =
        ["And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not", "Or", "Xor"];

    private static readonly HashSet<string> Counts = ["ArgMax", "ArgMin", "NonZero", "Shape", "Size"];

    private readonly Dictionary<OnnxValue, ElementType> _types = [];

    internal ElementTypeInference(OnnxModel model)
    {
        Infer(model.Graph);
    }

    /// <summary>The element type; <see cref="ElementType.Undefined"/> where it is not known.</summary>
    internal ElementType Of(OnnxValue value) => _types.TryGetValue(value, out var known) ? known : value.Type ?? ElementType.Undefined;

    private void Infer(OnnxGraph graph)
    {
        foreach (var node in graph.Nodes)
        {
            foreach (var inner in node.Subgraphs) Infer(inner);
            for (var i = 0; i < node.Outputs.Count; i++)
            {
                if (node.Outputs[i] is not { } output || output.Type is not null) continue;
                if (Infer(node, i) is var type and not ElementType.Undefined) _types[output] = type;
            }
        }
    }

    private ElementType Infer(OnnxNode node, int output)
    {
        var op = node.Domain.Length == 0 ? node.OpType : $"{node.Domain}:{node.OpType}";
        if (SameAsFirstInput.Contains(op))
        {
            var other = output > 0 && OneKnownOutput.Contains(op);
            // The sum of SkipSimplifiedLayerNormalization is its fourth output, after two of float32.
            other |= op == "com.microsoft:SkipSimplifiedLayerNormalization" && output is 1 or 2;
            return other ? ElementType.Undefined : Input(node, 0);
        }

        if (Predicates.Contains(op)) return ElementType.Bool;
        if (Counts.Contains(op)) return ElementType.Int64;
        return op switch
        {
            "Cast" => (ElementType)node.GetInt("to", 0),
            "CastLike" or "Where" => Input(node, 1),
            "ConstantOfShape" => node.Attribute("value")?.T is { } value ? (ElementType)value.DataType : ElementType.Float32,
            "DequantizeLinear" => node.GetInt("output_dtype", 0) is not 0 and var given ? (ElementType)given : Input(node, 1),
            "OneHot" => Input(node, 2),
            "MatMulInteger" or "ConvInteger" => ElementType.Int32,
            "If" => Same(node.Subgraphs.Select(branch => branch.Outputs.ElementAtOrDefault(output))),
            "com.microsoft:GatherBlockQuantized" => Input(node, 2),
            "ortquant:MaskedAttention" => Input(node, output == 0 ? 0 : output + 2),
            _ => ElementType.Undefined,
        };
    }

    private ElementType Input(OnnxNode node, int index) =>
        node.Inputs.ElementAtOrDefault(index) is { } value ? Of(value) : ElementType.Undefined;

    private ElementType Same(IEnumerable<OnnxValue?> values)
    {
        var types = values.Select(value => value is null ? ElementType.Undefined : Of(value)).Distinct().ToList();
        return types.Count == 1 ? types[0] : ElementType.Undefined;
    }
}
