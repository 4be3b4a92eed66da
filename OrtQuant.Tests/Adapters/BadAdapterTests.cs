using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Adapters;
using OrtQuant.GraphRewriter.Cli;
using OrtQuant.GraphRewriter.Transforms;
using OrtQuant.Tests.Support;
using static OrtQuant.Tests.Adapters.AdapterFixture;

namespace OrtQuant.Tests.Adapters;

/// <summary>What cannot be used is refused in one line that names it.</summary>
[TestClass]
public sealed class BadAdapterTests
{
    [TestMethod]
    [DataRow("use_dora", "true", "DoRA")]
    [DataRow("peft_type", "\"IA3\"", "peft_type is 'IA3'")]
    [DataRow("bias", "\"all\"", "bias is 'all'")]
    [DataRow("modules_to_save", "[\"lm_head\"]", "lm_head")]
    [DataRow("init_lora_weights", "\"pissa_niter_4\"", "pissa_niter_4")]
    [DataRow("lora_bias", "true", "lora_bias")]
    [DataRow("r", "8", "has rank 4; adapter_config.json says 8")]
    [DataRow("r", "null", "no 'r'")]
    [DataRow("lora_alpha", "null", "no 'lora_alpha'")]
    public void ConfigurationsThatCannotBeMerged(string member, string value, string expected)
    {
        using var folder = new TemporaryFolder();
        var configuration = Configuration();
        configuration[member] = JsonNode.Parse(value);
        AssertRefused(expected, () => LoraAdapter.Open(Write(folder.Path, configuration, Factors(Query, 64))));
    }

    [TestMethod]
    public void FilesThatAreNotThere()
    {
        using var folder = new TemporaryFolder();
        AssertRefused("no such folder", () => LoraAdapter.Open(folder.File("missing")));
        AssertRefused("adapter_config.json", () => LoraAdapter.Open(folder.Path));
        File.WriteAllText(folder.File("adapter_config.json"), Configuration().ToJsonString());
        AssertRefused("adapter_model.safetensors", () => LoraAdapter.Open(folder.Path));
        File.WriteAllBytes(folder.File("adapter_model.bin"), [0x80, 0x02]);
        AssertRefused("pickle", () => LoraAdapter.Open(folder.Path));
    }

    [TestMethod]
    [DataRow("{\"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [0, 12]}}", "lies at bytes 0 to 12 of the data, which has 8")]
    [DataRow("{\"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [4, 8]}}", "has 4 bytes; it must have 8")]
    [DataRow("{\"a\": {\"dtype\": \"F32\", \"shape\": [-2], \"data_offsets\": [0, 8]}}", "-2")]
    [DataRow("{\"a\": {\"dtype\": \"F32\", \"shape\": [4611686018427387904, 4], \"data_offsets\": [0, 8]}}", "4611686018427387904")]
    [DataRow("{\"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [8, 0]}}", "bytes 8 to 0")]
    [DataRow("{\"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [0]}}", "not two numbers")]
    [DataRow("{\"a\": {\"dtype\": \"Q9\", \"shape\": [2], \"data_offsets\": [0, 8]}}", "dtype 'Q9'")]
    [DataRow("{\"a\": {\"shape\": [2], \"data_offsets\": [0, 8]}}", "header")]
    [DataRow("{\"a\": 3}", "header")]
    [DataRow("[]", "no JSON object")]
    [DataRow("{\"a\"", "header")]
    public void DamagedSafetensors(string header, string expected)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder.File("adapter_model.safetensors"), Safetensors(header, new byte[8]));
        AssertRefused(expected, () => new SafetensorsFile(folder.File("adapter_model.safetensors")).Dispose());
    }

    [TestMethod]
    public void TruncatedSafetensors()
    {
        using var folder = new TemporaryFolder();
        Write(folder.Path, Configuration(), Factors(Query, 64));
        var file = folder.File("adapter_model.safetensors");
        var bytes = File.ReadAllBytes(file);
        foreach (var length in Enumerable.Range(0, 40).Append(bytes.Length - 1))
        {
            File.WriteAllBytes(file, bytes[..length]);
            AssertRefused("adapter_model.safetensors", () => new SafetensorsFile(file).Dispose());
        }
    }

    [TestMethod]
    public void ModulesThatFitNoWeight()
    {
        using var folder = new TemporaryFolder();
        AssertRefused("model.layers.7.self_attn.q_proj", () => Apply(Factors("base_model.model.model.layers.7.self_attn.q_proj", 64)));
        AssertRefused("lora_B has 63 rows", () => Apply(Factors("base_model.model.model.layers.0.self_attn.o_proj", 63, columns: 128)));
        AssertRefused("lora_A has 60 columns", () => Apply(Factors(Query, 64, columns: 60)));
        AssertRefused("use_qalora", () => Apply(Factors(Query, 64, columns: 2)));
        AssertRefused("no LoRA factors of linear layers: base_model.model.model.embed_tokens.lora_embedding_A", () => Apply(new() { ["base_model.model.model.embed_tokens.lora_embedding_A"] = ([4, 8], new float[32]) }));
        AssertRefused("has no lora_B", () => Apply(new() { [$"{Query}.lora_A.weight"] = ([4, K], new float[4 * K]) }));
        var factors = Factors(Query, 64);
        factors[$"{Query}.lora_B.weight"].Values[3] = float.NaN;
        AssertRefused("NaN", () => Apply(factors));

        void Apply(Dictionary<string, (long[] Shape, float[] Values)> factors)
        {
            using var model = Layer().Load(folder.File("model"));
            new MergeAdapter(Write(folder.File("adapter"), Configuration(), factors)).Apply(model);
            foreach (var value in model.Graph.Initializers) value.Constant!.ReadBytes();
        }
    }

    [TestMethod]
    public async Task TheToolSaysItInOneLine()
    {
        using var folder = new TemporaryFolder();
        var model = Layer().Save(folder.Path);
        var adapter = Write(folder.File("adapter"), Configuration(), Factors("base_model.model.other.q_proj", 64));
        Assert.AreEqual((ExitCode.Failed, true), await Run("--adapter", adapter, "other.q_proj"));
        Assert.AreEqual((ExitCode.Usage, true), await Run("--adapter-mode", "low-rank", "--adapter-mode needs --adapter"));

        async Task<(int Code, bool Named)> Run(string option, string value, string expected)
        {
            using var error = new StringWriter();
            var code = await CommandLine.RunAsync(["rewrite", model, "-o", folder.File("out.onnx"), option, value], TextWriter.Null, error, CancellationToken.None);
            Assert.IsFalse(File.Exists(folder.File("out.onnx")));
            return (code, error.ToString().Contains(expected, StringComparison.Ordinal));
        }
    }

    private static void AssertRefused(string expected, Action action)
    {
        var exception = Assert.ThrowsExactly<AdapterException>(action);
        Assert.Contains(expected, exception.Message);
        Assert.DoesNotContain("\n", exception.Message);
    }
}
