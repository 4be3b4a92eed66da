using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json.Nodes;
using OrtQuant.Descriptions;
using OrtQuant.Tests.Support;
using static OrtQuant.Tests.Support.ModelBuilder;

namespace OrtQuant.Tests.Adapters;

/// <summary>A small layer named as exporters name it, and adapters for it.</summary>
internal static class AdapterFixture
{
    internal const int K = 64, Rank = 4;
    internal const string Query = "base_model.model.model.layers.0.self_attn.q_proj";

    /// <summary>q, k and v one on top of the other as genai's builder packs them, then an output projection and a Gemm [N, K] with alpha.</summary>
    internal static ModelBuilder Layer(ElementType type = ElementType.Float32) => new ModelBuilder()
        .Input("x", type, "rows", K)
        .Weight("model.layers.0.attn.qkv_proj.MatMul.weight", type, 1, K, 128)
        .Node(new Onnx.NodeProto { OpType = "MatMul", Name = "/model/layers.0/attn/qkv_proj/MatMul", Input = { "x", "model.layers.0.attn.qkv_proj.MatMul.weight" }, Output = { "qkv" } })
        .Weight("onnx::MatMul_17", type, 2, 128, K)
        .Node(new Onnx.NodeProto { OpType = "MatMul", Name = "/model/layers.0/self_attn/o_proj/MatMul", Input = { "qkv", "onnx::MatMul_17" }, Output = { "o" } })
        .Weight("model.layers.0.mlp.down_proj.weight", type, 3, 32, K)
        .Node(new Onnx.NodeProto { OpType = "Gemm", Name = "/model/layers.0/mlp/down_proj/Gemm", Input = { "o", "model.layers.0.mlp.down_proj.weight" }, Output = { "y" }, Attribute = { Int("transB", 1), Float("alpha", 0.5f) } })
        .Output("y", type, "rows", 32);

    internal static JsonObject Configuration() => new() { ["peft_type"] = "LORA", ["r"] = Rank, ["lora_alpha"] = 8, ["bias"] = "none" };

    /// <summary>Factors of one module: A [r, columns] and B [n, r], seeded.</summary>
    internal static Dictionary<string, (long[] Shape, float[] Values)> Factors(string module, int n, int columns = K, int seed = 5, int rank = Rank) => new()
    {
        [$"{module}.lora_A.weight"] = ([rank, columns], Values(rank * columns, seed)),
        [$"{module}.lora_B.weight"] = ([n, rank], Values(n * rank, seed + 1)),
    };

    internal static string Write(string folder, JsonObject configuration, params Dictionary<string, (long[] Shape, float[] Values)>[] factors)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "adapter_config.json"), configuration.ToJsonString());
        var header = new JsonObject { ["__metadata__"] = new JsonObject { ["format"] = "pt" } };
        using var data = new MemoryStream();
        foreach (var (name, (shape, values)) in factors.SelectMany(module => module))
        {
            var begin = data.Length;
            data.Write(MemoryMarshal.AsBytes(values.AsSpan()));
            header[name] = new JsonObject { ["dtype"] = "F32", ["shape"] = new JsonArray([.. shape.Select(size => (JsonNode)size)]), ["data_offsets"] = new JsonArray(begin, data.Length) };
        }

        File.WriteAllBytes(Path.Combine(folder, "adapter_model.safetensors"), Safetensors(header.ToJsonString(), data.ToArray()));
        return folder;
    }

    internal static byte[] Safetensors(string header, byte[] data)
    {
        var bytes = Encoding.UTF8.GetBytes(header);
        var length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, bytes.Length);
        return [.. length, .. bytes, .. data];
    }

    /// <summary>factor * B A of the factors, in double: <c>[n, columns]</c>.</summary>
    internal static double[,] Product(Dictionary<string, (long[] Shape, float[] Values)> factors, double factor)
    {
        var (a, b) = (factors.Single(pair => pair.Key.Contains("lora_A")).Value, factors.Single(pair => pair.Key.Contains("lora_B")).Value);
        var (rank, columns, n) = ((int)a.Shape[0], (int)a.Shape[1], (int)b.Shape[0]);
        var product = new double[n, columns];
        for (var row = 0; row < n; row++)
        {
            for (var column = 0; column < columns; column++)
            {
                for (var r = 0; r < rank; r++) product[row, column] += factor * b.Values[(row * rank) + r] * a.Values[(r * columns) + column];
            }
        }

        return product;
    }

    private static float[] Values(int count, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (random.NextSingle() - 0.5f) * 0.4f)];
    }
}
