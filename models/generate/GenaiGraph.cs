using DataType = Onnx.TensorProto.Types.DataType;

namespace OrtQuant.ModelGenerator;

/// <summary>A Llama in the operators of onnxruntime-genai's builder: packed qkv, GroupQueryAttention with its rotary caches.</summary>
internal static class GenaiGraph
{
    private const string Domain = "com.microsoft";
    private const string Total = "total_sequence_length";

    /// <summary>What every layer's attention reads.</summary>
    private sealed record Shared(string LastPosition, string TotalLength, string Cos, string Sin);

    public static GraphBuilder Build(LlamaShape shape)
    {
        var b = new GraphBuilder("llama");
        b.Input("input_ids", DataType.Int64, "batch_size", "sequence_length");
        b.Input("attention_mask", DataType.Int64, "batch_size", Total);
        var (skip, head) = Embed(b, shape);
        var shared = Share(b, shape);
        var presents = new List<(string Value, string Name)>();
        string? pending = null;
        for (var layer = 0; layer < shape.Layers; layer++)
        {
            (var normed, skip) = Norm(b, shape, $"layers.{layer}.input_layernorm", skip, pending);
            var attended = Attention(b, shape, layer, normed, shared, presents);
            (normed, skip) = Norm(b, shape, $"layers.{layer}.post_attention_layernorm", skip, attended);
            pending = FeedForward(b, shape, layer, normed);
        }

        var (x, _) = Norm(b, shape, $"layers.{shape.Layers}.final_norm_layernorm", skip, pending);
        b.Output(b.Node("/lm_head", "MatMul", [x, head]), "logits", DataType.Float16, "batch_size", "sequence_length", shape.Vocabulary);
        foreach (var (value, name) in presents)
        {
            b.Output(value, name, DataType.Float16, "batch_size", shape.KeyValueHeads, Total, shape.HeadSize);
        }

        return b;
    }

    /// <summary>Embedding and head; tied, both read the head's weight, the embedding through a Transpose.</summary>
    private static (string X, string Head) Embed(GraphBuilder b, LlamaShape shape)
    {
        const string Path = "/model/embed_tokens";
        if (!shape.Tied)
        {
            var embedding = b.Weight("model.embed_tokens.weight", 1f, shape.Vocabulary, shape.Hidden);
            var x = b.Node(Path, "Gather", [embedding, "input_ids"]);
            return (x, b.Weight("lm_head.MatMul.weight", OptimumGraph.Deviation(shape.Hidden), shape.Hidden, shape.Vocabulary));
        }

        var head = b.Weight("lm_head.MatMul.weight", OptimumGraph.Deviation(shape.Hidden), shape.Hidden, shape.Vocabulary);
        var rows = b.Node(Path, "Transpose", [head], ("perm", new long[] { 1, 0 }));
        return (b.Node(Path, "Gather", [rows, "input_ids"]), head);
    }

    private static Shared Share(GraphBuilder b, LlamaShape shape)
    {
        const string Path = "/model/attn_mask_reformat";
        var lengths = b.Node(Path, "ReduceSum", ["attention_mask", b.Int64(1)], ("keepdims", 0L));
        var last = b.Cast(Path, b.Node(Path, "Sub", [lengths, b.Int64(1)]), DataType.Int32);
        var total = b.Node(Path, "Gather", [b.Node(Path, "Shape", ["attention_mask"]), b.Int64Scalar(1)], ("axis", 0L));

        var frequencies = OptimumGraph.InverseFrequencies(shape);
        var cos = new Half[shape.Positions * frequencies.Length];
        var sin = new Half[cos.Length];
        for (var position = 0; position < shape.Positions; position++)
        {
            for (var i = 0; i < frequencies.Length; i++)
            {
                cos[(position * frequencies.Length) + i] = (Half)MathF.Cos(position * frequencies[i]);
                sin[(position * frequencies.Length) + i] = (Half)MathF.Sin(position * frequencies[i]);
            }
        }

        return new Shared(
            last,
            b.Cast(Path, total, DataType.Int32),
            b.Half(cos, shape.Positions, frequencies.Length),
            b.Half(sin, shape.Positions, frequencies.Length));
    }

    /// <summary>The norm of the residual stream after adding what a layer part put out; returns both the norm and the sum.</summary>
    private static (string Normed, string Sum) Norm(GraphBuilder b, LlamaShape shape, string name, string skip, string? added)
    {
        var path = "/model/" + name.Replace("norm", "norm/LayerNorm", StringComparison.Ordinal);
        var weight = b.Weight($"model.{name}.weight", 0, shape.Hidden);
        if (added is null)
        {
            var attributes = new (string, object)[] { ("axis", -1L), ("epsilon", LlamaShape.Epsilon), ("stash_type", 1L) };
            return (b.Node(path, "SimplifiedLayerNormalization", [skip, weight], attributes), skip);
        }

        var outputs = b.Node(path, Domain, "SkipSimplifiedLayerNormalization", [skip, added, weight], 4, ("epsilon", LlamaShape.Epsilon));
        return (outputs[0], outputs[3]);
    }

    private static string Attention(
        GraphBuilder b, LlamaShape shape, int layer, string x, Shared shared, List<(string Value, string Name)> presents)
    {
        var path = $"/model/layers.{layer}/attn";
        var qkv = Linear(b, layer, "attn", "qkv_proj", x, shape.Hidden, shape.Hidden + (2 * shape.KeyValueWidth));
        var past = new[] { "key", "value" }
            .Select(kind => b.Input(
                $"past_key_values.{layer}.{kind}", DataType.Float16, "batch_size", shape.KeyValueHeads, "past_sequence_length", shape.HeadSize))
            .ToArray();
        var outputs = b.Node(
            path,
            Domain,
            "GroupQueryAttention",
            [qkv, "", "", past[0], past[1], shared.LastPosition, shared.TotalLength, shared.Cos, shared.Sin],
            3,
            ("num_heads", (long)shape.Heads),
            ("kv_num_heads", (long)shape.KeyValueHeads),
            ("scale", OptimumGraph.Deviation(shape.HeadSize)),
            ("do_rotary", 1L),
            ("rotary_interleaved", 0L));
        presents.Add((outputs[1], $"present.{layer}.key"));
        presents.Add((outputs[2], $"present.{layer}.value"));
        return Linear(b, layer, "attn", "o_proj", outputs[0], shape.Hidden, shape.Hidden);
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
        var weight = b.Weight($"model.layers.{layer}.{part}.{projection}.MatMul.weight", OptimumGraph.Deviation(k), k, n);
        return b.Node($"/model/layers.{layer}/{part}/{projection}", "MatMul", [x, weight]);
    }
}
