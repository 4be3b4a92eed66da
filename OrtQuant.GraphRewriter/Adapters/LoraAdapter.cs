using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Adapters;

/// <summary>One module of an adapter: <c>W' = W + scale * B A</c>, or with pools <c>W'[n, k] = W[n, k] + scale * (B A)[n, k / pool]</c>.</summary>
/// <param name="Path">Path of the module in the trained model, e.g. <c>model.layers.0.self_attn.q_proj</c>.</param>
/// <param name="A">Factor <c>[r, K]</c>, or <c>[r, K / pool]</c>.</param>
/// <param name="B">Factor <c>[N, r]</c>.</param>
/// <param name="Scale">As the trainer's configuration has it, without what pools add.</param>
internal sealed record AdapterModule(string Path, LazyTensor A, LazyTensor B, float Scale)
{
    internal long Rank => A.Shape[0];

    /// <summary>Inputs K, or their groups.</summary>
    internal long Columns => A.Shape[1];

    internal long N => B.Shape[0];
}

/// <summary>A LoRA adapter as PEFT saves it: <c>adapter_config.json</c> and <c>adapter_model.safetensors</c>.</summary>
internal sealed class LoraAdapter : IDisposable
{
    private const string Prefix = "base_model.model.";
    private const string FactorA = ".lora_A", FactorB = ".lora_B";

    private readonly SafetensorsFile _file;

    private LoraAdapter(AdapterConfiguration configuration, SafetensorsFile file)
    {
        _file = file;
        Configuration = configuration;
        Modules = ReadModules();
    }

    internal AdapterConfiguration Configuration { get; }

    /// <summary>The modules, by path.</summary>
    internal IReadOnlyList<AdapterModule> Modules { get; }

    /// <summary>Opens an adapter; factors are mapped, not read.</summary>
    /// <param name="folder">The folder with its two files.</param>
    /// <exception cref="AdapterException">A file is missing or cannot be used.</exception>
    internal static LoraAdapter Open(string folder)
    {
        if (!Directory.Exists(folder)) throw new AdapterException($"no such folder: {folder}");
        var configuration = System.IO.Path.Combine(folder, "adapter_config.json");
        if (!File.Exists(configuration)) throw new AdapterException($"{folder} holds no adapter_config.json");
        var weights = System.IO.Path.Combine(folder, "adapter_model.safetensors");
        if (!File.Exists(weights))
        {
            throw new AdapterException(File.Exists(System.IO.Path.Combine(folder, "adapter_model.bin"))
                ? $"{folder} holds adapter_model.bin, a Python pickle, which can run code when it is read and is not; save the adapter as safetensors"
                : $"{folder} holds no adapter_model.safetensors");
        }

        var read = AdapterConfiguration.Read(configuration);
        var file = new SafetensorsFile(weights);
        try
        {
            return new LoraAdapter(read, file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    public void Dispose() => _file.Dispose();

    private List<AdapterModule> ReadModules()
    {
        var factors = new SortedDictionary<string, (LazyTensor? A, LazyTensor? B)>(StringComparer.Ordinal);
        var unknown = new List<string>();
        foreach (var (name, tensor) in _file.Tensors.OrderBy(entry => entry.Key, StringComparer.Ordinal))
        {
            var (module, isA) = Parse(name);
            if (module is null)
            {
                unknown.Add(name);
                continue;
            }

            var pair = factors.GetValueOrDefault(module);
            factors[module] = isA ? pair with { A = tensor } : pair with { B = tensor };
        }

        if (unknown.Count > 0) throw new AdapterException($"the adapter holds tensors that are no LoRA factors of linear layers: {Several(unknown)}");
        return factors.Count == 0
            ? throw new AdapterException("the adapter holds no tensors")
            : [.. factors.Select(pair => Module(pair.Key, pair.Value.A, pair.Value.B))];
    }

    /// <summary>The module and which of its factors a tensor is: <c>base_model.model.PATH.lora_A.weight</c>, with the adapter's name before <c>weight</c> or without.</summary>
    private static (string? Module, bool IsA) Parse(string name)
    {
        if (!name.EndsWith(".weight", StringComparison.Ordinal)) return (null, false);
        foreach (var factor in (ReadOnlySpan<string>)[FactorA, FactorB])
        {
            var at = name.LastIndexOf(factor + ".", StringComparison.Ordinal);
            if (at <= 0) continue;
            var module = name[..at];
            return (module.StartsWith(Prefix, StringComparison.Ordinal) ? module[Prefix.Length..] : module, factor == FactorA);
        }

        return (null, false);
    }

    private AdapterModule Module(string path, LazyTensor? a, LazyTensor? b)
    {
        if (a is null || b is null) throw new AdapterException($"module '{path}' has no {(a is null ? "lora_A" : "lora_B")}");
        if (a.Shape.Count != 2 || b.Shape.Count != 2 || a.Shape[0] != b.Shape[1] || a.Shape.Contains(0) || b.Shape.Contains(0))
        {
            throw new AdapterException($"module '{path}' has lora_A [{string.Join(", ", a.Shape)}] and lora_B [{string.Join(", ", b.Shape)}]; they must be [r, K] and [N, r]");
        }

        var rank = Configuration.RankOf(path);
        if (a.Shape[0] != rank) throw new AdapterException($"module '{path}' has rank {a.Shape[0]}; adapter_config.json says {rank}");
        return new AdapterModule(path, a, b, Configuration.Scale(path, rank));
    }

    internal static string Several(IReadOnlyCollection<string> names) =>
        string.Join(", ", names.Take(8)) + (names.Count > 8 ? $" and {names.Count - 8} more" : "");
}
