using DataType = Onnx.TensorProto.Types.DataType;

namespace OrtQuant.ModelGenerator;

/// <summary>A Llama in plain ONNX operators: float16 weights, norms and softmax in float32, key/value cache in and out.</summary>
internal static class OptimumGraph
{
    private const string Past = "past_sequence_length";
    private const string Total = "past_sequence_length + sequence_length";

    /// <summary>What every layer's attention reads.</summary>
    private sealed record Shared(string Cos, string Sin, string Mask);

    public static GraphBuilder Build(LlamaShape shape)
    {
        var b = new GraphBuilder("llama");
        var ids = b.Input("input_ids", DataType.Int64, "batch_size", "sequence_length");
        b.Input("attention_mask", DataType.Int64, "batch_size", Total);
        b.Input("position_ids", DataType.Int64, "batch_size", "sequence_length");
        var embedding = b.Weight("model.embed_tokens.weight", 1f, shape.Vocabulary, shape.Hidden);
        var x = b.Node("/model/embed_tokens", "Gather", [embedding, ids]);
        var shared = Share(b, shape);
        var presents = new List<(string Value, string Name)>();
        for (var layer = 0; layer < shape.Layers; layer++)
        {
            var path = $"/model/layers.{layer}";
            var normed = Norm(b, shape, $"{path}/input_layernorm", $"model.layers.{layer}.input_layernorm.weight", x);
            x = b.Node(path, "Add", [x, Attention(b, shape, layer, normed, shared, presents)]);
            normed = Norm(b, shape, $"{path}/post_attention_layernorm", $"model.layers.{layer}.post_attention_layernorm.weight", x);
            x = b.Node(path, "Add", [x, FeedForward(b, shape, layer, normed)]);
        }

        x = Norm(b, shape, "/model/norm", "model.norm.weight", x);
        // Torch exports a tied head as a Transpose of the embedding; untied, the weight is stored transposed already.
        var head = shape.Tied
            ? b.Node("/lm_head", "Transpose", [embedding], ("perm", new long[] { 1, 0 }))
            : b.Weight("lm_head.weight", Deviation(shape.Hidden), shape.Hidden, shape.Vocabulary);
        b.Output(b.Node("/lm_head", "MatMul", [x, head]), "logits", DataType.Float16, "batch_size", "sequence_length", shape.Vocabulary);
        foreach (var (value, name) in presents)
        {
            b.Output(value, name, DataType.Float16, "batch_size", shape.KeyValueHeads, Total, shape.HeadSize);
        }

        return b;
    }

    /// <summary>Keeps the scale of a random input: 1 / sqrt(K).</summary>
    public static float Deviation(int k) => 1f / MathF.Sqrt(k);

    /// <summary>1 / theta^(2 i / head size) for i in [0, head size / 2).</summary>
    public static float[] InverseFrequencies(LlamaShape shape) =>
        [.. Enumerable.Range(0, shape.HeadSize / 2).Select(i => 1f / MathF.Pow(LlamaShape.RopeTheta, 2f * i / shape.HeadSize))];

    private static Shared Share(GraphBuilder b, LlamaShape shape)
    {
        const string Rotary = "/model/rotary_emb";
        var frequencies = b.Float(InverseFrequencies(shape), 1, 1, shape.HeadSize / 2);
        var positions = b.Cast(Rotary, b.Node(Rotary, "Unsqueeze", ["position_ids", b.Int64(2)]), DataType.Float);
        var half = b.Node(Rotary, "Mul", [positions, frequencies]);
        var angles = b.Node(Rotary, "Unsqueeze", [b.Node(Rotary, "Concat", [half, half], ("axis", -1L)), b.Int64(1)]);
        var cos = b.Cast(Rotary, b.Node(Rotary, "Cos", [angles]), DataType.Float16);
        var sin = b.Cast(Rotary, b.Node(Rotary, "Sin", [angles]), DataType.Float16);

        // Position i attends to j <= i, where the last of the total positions is the last of this call.
        const string Mask = "/model/mask";
        var total = b.Node(Mask, "Gather", [b.Node(Mask, "Shape", ["attention_mask"]), b.Int64Scalar(1)], ("axis", 0L));
        var length = b.Node(Mask, "Gather", [b.Node(Mask, "Shape", ["input_ids"]), b.Int64Scalar(1)], ("axis", 0L));
        var begin = b.Node(Mask, "Sub", [total, length]);
        var keys = b.Node(Mask, "Range", [b.Int64Scalar(0), total, b.Int64Scalar(1)]);
        var queries = b.Node(Mask, "Unsqueeze", [b.Node(Mask, "Range", [begin, total, b.Int64Scalar(1)]), b.Int64(1)]);
        var causal = b.Node(Mask, "LessOrEqual", [keys, queries]);
        var given = b.Node(Mask, "Unsqueeze", [b.Cast(Mask, "attention_mask", DataType.Bool), b.Int64(1, 2)]);
        var seen = b.Node(Mask, "And", [causal, given]);
        var mask = b.Node(Mask, "Where", [seen, b.Half([(Half)0f]), b.Half([Half.MinValue])]);
        return new Shared(cos, sin, mask);
    }

    private static string Norm(GraphBuilder b, LlamaShape shape, string path, string weight, string x)
    {
        var wide = b.Cast(path, x, DataType.Float);
        var square = b.Node(path, "Pow", [wide, b.Float([2f])]);
        var mean = b.Node(path, "ReduceMean", [square, b.Int64(-1)], ("keepdims", 1L));
        var root = b.Node(path, "Sqrt", [b.Node(path, "Add", [mean, b.Float([LlamaShape.Epsilon])])]);
        var normed = b.Cast(path, b.Node(path, "Div", [wide, root]), DataType.Float16);
        return b.Node(path, "Mul", [b.Weight(weight, 0, shape.Hidden), normed]);
    }

    private static string Attention(
        GraphBuilder b, LlamaShape shape, int layer, string x, Shared shared, List<(string Value, string Name)> presents)
    {
        var path = $"/model/layers.{layer}/self_attn";
        var q = Rotate(b, shape, path, Heads(b, shape, layer, "q_proj", shape.Heads, x), shared);
        var k = Rotate(b, shape, path, Heads(b, shape, layer, "k_proj", shape.KeyValueHeads, x), shared);
        var v = Heads(b, shape, layer, "v_proj", shape.KeyValueHeads, x);
        k = Extend(b, shape, layer, "key", k, presents);
        v = Extend(b, shape, layer, "value", v, presents);
        k = b.Node(path, "Transpose", [Repeat(b, shape, path, k)], ("perm", new long[] { 0, 1, 3, 2 }));
        var scores = b.Node(path, "Mul", [b.Node(path, "MatMul", [q, k]), b.Half([(Half)Deviation(shape.HeadSize)])]);
        scores = b.Cast(path, b.Node(path, "Add", [scores, shared.Mask]), DataType.Float);
        var weights = b.Cast(path, b.Node(path, "Softmax", [scores], ("axis", -1L)), DataType.Float16);
        var mixed = b.Node(path, "MatMul", [weights, Repeat(b, shape, path, v)]);
        mixed = b.Node(path, "Transpose", [mixed], ("perm", new long[] { 0, 2, 1, 3 }));
        mixed = b.Node(path, "Reshape", [mixed, b.Int64(0, 0, shape.Hidden)]);
        return Linear(b, layer, "self_attn", "o_proj", mixed, shape.Hidden, shape.Hidden);
    }

    /// <summary>[batch, sequence, hidden] projected and split into [batch, heads, sequence, head size].</summary>
    private static string Heads(GraphBuilder b, LlamaShape shape, int layer, string projection, int heads, string x)
    {
        var path = $"/model/layers.{layer}/self_attn";
        var projected = Linear(b, layer, "self_attn", projection, x, shape.Hidden, heads * shape.HeadSize);
        var split = b.Node(path, "Reshape", [projected, b.Int64(0, 0, heads, shape.HeadSize)]);
        return b.Node(path, "Transpose", [split], ("perm", new long[] { 0, 2, 1, 3 }));
    }

    private static string Rotate(GraphBuilder b, LlamaShape shape, string path, string x, Shared shared)
    {
        var half = shape.HeadSize / 2;
        var low = b.Node(path, "Slice", [x, b.Int64(0), b.Int64(half), b.Int64(3)]);
        var high = b.Node(path, "Slice", [x, b.Int64(half), b.Int64(long.MaxValue), b.Int64(3)]);
        var turned = b.Node(path, "Concat", [b.Node(path, "Neg", [high]), low], ("axis", -1L));
        return b.Node(path, "Add", [b.Node(path, "Mul", [x, shared.Cos]), b.Node(path, "Mul", [turned, shared.Sin])]);
    }

    private static string Extend(
        GraphBuilder b, LlamaShape shape, int layer, string kind, string x, List<(string Value, string Name)> presents)
    {
        var past = b.Input($"past_key_values.{layer}.{kind}", DataType.Float16, "batch_size", shape.KeyValueHeads, Past, shape.HeadSize);
        var present = b.Node($"/model/layers.{layer}/self_attn", "Concat", [past, x], ("axis", 2L));
        presents.Add((present, $"present.{layer}.{kind}"));
        return present;
    }

    /// <summary>Repeats each key/value head for the query heads that share it.</summary>
    private static string Repeat(GraphBuilder b, LlamaShape shape, string path, string x)
    {
        if (shape.Heads == shape.KeyValueHeads)
        {
            return x;
        }

        var wide = b.Node(path, "Unsqueeze", [x, b.Int64(2)]);
        wide = b.Node(path, "Expand", [wide, b.Int64(1, 1, shape.Heads / shape.KeyValueHeads, 1, 1)]);
        return b.Node(path, "Reshape", [wide, b.Int64(0, shape.Heads, -1, shape.HeadSize)]);
    }

    private static string FeedForward(GraphBuilder b, LlamaShape shape, int layer, string x)
    {
        var path = $"/model/layers.{layer}/mlp";
        var gate = Linear(b, layer, "mlp", "gate_proj", x, shape.Hidden, shape.FeedForward);
        var up = Linear(b, layer, "mlp", "up_proj", x, shape.Hidden, shape.FeedForward);
        var active = b.Node($"{path}/act_fn", "Mul", [gate, b.Node($"{path}/act_fn", "Sigmoid", [gate])]);
        return Linear(b, layer, "mlp", "down_proj", b.Node(path, "Mul", [active, up]), shape.FeedForward, shape.Hidden);
    }

    private static string Linear(GraphBuilder b, int layer, string part, string projection, string x, int k, int n)
    {
        var weight = b.Weight($"model.layers.{layer}.{part}.{projection}.weight", Deviation(k), k, n);
        return b.Node($"/model/layers.{layer}/{part}/{projection}", "MatMul", [x, weight]);
    }
}
