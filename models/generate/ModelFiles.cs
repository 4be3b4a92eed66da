using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using Google.Protobuf;
using Onnx;

namespace OrtQuant.ModelGenerator;

/// <summary>Writes a generated model into a folder: <c>model.onnx</c>, <c>model.onnx.data</c> and the configuration files.</summary>
internal static class ModelFiles
{
    private const int PageSize = 4096;
    private const int SmallAlignment = 64;
    private const long LargeTensor = 1 << 20;

    /// <summary>Writes the model; the graph comes last, so that an interrupted run leaves no model.onnx behind.</summary>
    /// <param name="folder">The folder, made if missing.</param>
    /// <param name="shape">The dimensions.</param>
    /// <param name="form">The operators.</param>
    /// <param name="seed">The seed of the weights: the same seed, the same bytes.</param>
    /// <param name="progress">Bytes of weights written so far.</param>
    /// <returns>Size of the graph and the data file together.</returns>
    public static long Write(string folder, LlamaShape shape, GraphForm form, ulong seed, IProgress<long>? progress = null)
    {
        var builder = form == GraphForm.Genai ? GenaiGraph.Build(shape) : OptimumGraph.Build(shape);
        Directory.CreateDirectory(folder);
        var graph = Path.Combine(folder, "model.onnx");
        File.Delete(graph);
        var length = PlaceWeights(builder.Weights, "model.onnx.data");
        WriteWeights(Path.Combine(folder, "model.onnx.data"), builder.Weights, seed, progress);
        File.WriteAllText(Path.Combine(folder, "config.json"), Configuration(shape));
        if (form == GraphForm.Genai)
        {
            File.WriteAllText(Path.Combine(folder, "genai_config.json"), GenaiConfiguration(shape));
        }

        var model = new ModelProto
        {
            IrVersion = form == GraphForm.Genai ? 10 : 8,
            ProducerName = "ortquant-generate",
            Graph = builder.Graph,
        };
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = form == GraphForm.Genai ? 21 : 18 });
        if (form == GraphForm.Genai)
        {
            model.OpsetImport.Add(new OperatorSetIdProto { Domain = "com.microsoft", Version = 1 });
        }

        using (var stream = File.Create(graph + ".tmp"))
        {
            model.WriteTo(stream);
            length += stream.Length;
        }

        File.Move(graph + ".tmp", graph);
        return length;
    }

    /// <summary>Fixes where each weight will be, and says so in its initializer. Returns the length of the data file.</summary>
    private static long PlaceWeights(IEnumerable<PendingWeight> weights, string location)
    {
        var end = 0L;
        foreach (var weight in weights)
        {
            var length = weight.Count * sizeof(ushort);
            var offset = Align(end, length);
            weight.Tensor.DataLocation = TensorProto.Types.DataLocation.External;
            foreach (var (key, value) in new[] { ("location", location), ("offset", Text(offset)), ("length", Text(length)) })
            {
                weight.Tensor.ExternalData.Add(new StringStringEntryProto { Key = key, Value = value });
            }

            end = offset + length;
        }

        return end;
    }

    private static void WriteWeights(string path, IReadOnlyList<PendingWeight> weights, ulong seed, IProgress<long>? progress)
    {
        var random = new RandomWeights(seed);
        using var stream = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        for (var i = 0; i < weights.Count; i++)
        {
            var weight = weights[i];
            // Past the end: the gap before an aligned tensor reads as zeros.
            stream.Position = Align(stream.Position, weight.Count * sizeof(ushort));
            if (weight.Deviation == 0)
            {
                var ones = new Half[weight.Count];
                Array.Fill(ones, (Half)1f);
                stream.Write(MemoryMarshal.AsBytes(ones.AsSpan()));
            }
            else
            {
                random.Write(stream, i, weight.Count, weight.Deviation);
            }

            progress?.Report(stream.Position);
        }
    }

    private static long Align(long offset, long length)
    {
        var alignment = length >= LargeTensor ? PageSize : SmallAlignment;
        return (offset + alignment - 1) / alignment * alignment;
    }

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);

    private static string Configuration(LlamaShape shape) => JsonSerializer.Serialize(
        new Dictionary<string, object>
        {
            ["architectures"] = new[] { "LlamaForCausalLM" },
            ["model_type"] = "llama",
            ["bos_token_id"] = 1,
            ["eos_token_id"] = 2,
            ["head_dim"] = shape.HeadSize,
            ["hidden_act"] = "silu",
            ["hidden_size"] = shape.Hidden,
            ["intermediate_size"] = shape.FeedForward,
            ["max_position_embeddings"] = shape.Positions,
            ["num_attention_heads"] = shape.Heads,
            ["num_hidden_layers"] = shape.Layers,
            ["num_key_value_heads"] = shape.KeyValueHeads,
            ["rms_norm_eps"] = 1e-5,
            ["rope_theta"] = 10000.0,
            ["tie_word_embeddings"] = shape.Tied,
            ["vocab_size"] = shape.Vocabulary,
        },
        JsonOptions);

    private static string GenaiConfiguration(LlamaShape shape) => JsonSerializer.Serialize(
        new
        {
            model = new
            {
                bos_token_id = 1,
                context_length = shape.Positions,
                decoder = new
                {
                    session_options = new { log_id = "onnxruntime-genai", provider_options = Array.Empty<object>() },
                    filename = "model.onnx",
                    head_size = shape.HeadSize,
                    hidden_size = shape.Hidden,
                    inputs = new
                    {
                        input_ids = "input_ids",
                        attention_mask = "attention_mask",
                        past_key_names = "past_key_values.%d.key",
                        past_value_names = "past_key_values.%d.value",
                    },
                    outputs = new { logits = "logits", present_key_names = "present.%d.key", present_value_names = "present.%d.value" },
                    num_attention_heads = shape.Heads,
                    num_hidden_layers = shape.Layers,
                    num_key_value_heads = shape.KeyValueHeads,
                },
                eos_token_id = 2,
                pad_token_id = 2,
                type = "llama",
                vocab_size = shape.Vocabulary,
            },
            search = new { do_sample = false, max_length = shape.Positions, past_present_share_buffer = false },
        },
        JsonOptions);

    private static JsonSerializerOptions JsonOptions { get; } = new() { WriteIndented = true };
}
