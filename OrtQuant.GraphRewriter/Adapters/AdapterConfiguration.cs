using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace OrtQuant.GraphRewriter.Adapters;

/// <summary><c>adapter_config.json</c> as PEFT writes it: what of it says how the factors are used.</summary>
internal sealed class AdapterConfiguration
{
    private static readonly TimeSpan MatchTimeout = TimeSpan.FromSeconds(1);

    // Initializations that take something out of the base model's weights, which an adapter saved as it is expects to be missing.
    private static readonly string[] BaseChanging = ["pissa", "olora", "loftq", "corda"];

    private readonly JsonObject _json;

    private AdapterConfiguration(JsonObject json) => _json = json;

    /// <summary>The rank, where no pattern says otherwise.</summary>
    internal int Rank => (int)(Number("r") ?? throw new AdapterException("adapter_config.json has no 'r', the rank"));

    /// <summary>A, of rank columns by groups, is multiplied by sums over groups of inputs (QA-LoRA).</summary>
    internal bool IsQuantizationAware => Flag("use_qalora");

    /// <summary>Inputs to a group, for QA-LoRA.</summary>
    internal int QuantizationGroup => (int)(Number("qalora_group_size") ?? throw new AdapterException("adapter_config.json says use_qalora, but has no 'qalora_group_size'"));

    /// <summary>Reads the file.</summary>
    /// <exception cref="AdapterException">It is no JSON, or asks for something that cannot be merged.</exception>
    internal static AdapterConfiguration Read(string path)
    {
        try
        {
            var json = JsonNode.Parse(File.ReadAllText(path)) as JsonObject ?? throw new AdapterException("adapter_config.json is no JSON object");
            var configuration = new AdapterConfiguration(json);
            configuration.Check();
            return configuration;
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or FormatException)
        {
            throw new AdapterException($"adapter_config.json: {exception.Message}", exception);
        }
    }

    /// <summary>The factor on B A for a module: alpha / r, or alpha / sqrt(r) with rsLoRA.</summary>
    internal float Scale(string module, int rank)
    {
        var alpha = Pattern("alpha_pattern", module) ?? Number("lora_alpha") ?? throw new AdapterException("adapter_config.json has no 'lora_alpha'");
        return (float)(alpha / (Flag("use_rslora") ? Math.Sqrt(rank) : rank));
    }

    /// <summary>The rank of a module.</summary>
    internal int RankOf(string module) => (int)(Pattern("rank_pattern", module) ?? Rank);

    private void Check()
    {
        var kind = Text("peft_type") ?? "LORA";
        if (kind != "LORA") throw new AdapterException($"peft_type is '{kind}'; it must be LORA");
        if (Flag("use_dora")) throw new AdapterException("the adapter is DoRA (use_dora), whose magnitudes rescale every output of the base weight; only LoRA is merged: save it merged with its trainer");
        if (Flag("lora_bias")) throw new AdapterException("the adapter trains biases beside its factors (lora_bias); only factors are merged");
        if (Text("bias") is { } bias and not "none") throw new AdapterException($"bias is '{bias}': the adapter changes biases of the base model; it must be 'none'");
        if (_json["modules_to_save"] is JsonArray { Count: > 0 } saved) throw new AdapterException($"the adapter holds whole modules ({string.Join(", ", saved)}); only LoRA factors are merged");
        if (Text("init_lora_weights") is { } start && BaseChanging.Any(name => start.StartsWith(name, StringComparison.OrdinalIgnoreCase)))
        {
            throw new AdapterException($"init_lora_weights is '{start}': the adapter was trained on a changed base model; save it converted to plain LoRA first");
        }

        if (Rank < 1) throw new AdapterException($"r is {Rank}; it must be 1 or more");
    }

    // A key names modules as PEFT reads it: a regular expression for the end of their path.
    private double? Pattern(string name, string module)
    {
        if (_json[name] is not JsonObject patterns) return null;
        foreach (var (key, value) in patterns)
        {
            if (value is not null && Regex.IsMatch(module, $@"^(.*\.)?({key})$", RegexOptions.CultureInvariant, MatchTimeout)) return value.GetValue<double>();
        }

        return null;
    }

    private bool Flag(string name) => _json[name] is JsonValue value && value.TryGetValue<bool>(out var flag) && flag;

    private double? Number(string name) => _json[name] is JsonValue value && value.TryGetValue<double>(out var number) ? number : null;

    private string? Text(string name) => _json[name] is JsonValue value && value.TryGetValue<string>(out var text) ? text : null;
}
