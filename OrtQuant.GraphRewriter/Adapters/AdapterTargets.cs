using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Matching;

namespace OrtQuant.GraphRewriter.Adapters;

/// <summary>Where a module of an adapter goes: rows (outputs) of one weight.</summary>
/// <param name="Module">The module.</param>
/// <param name="Weight">The weight.</param>
/// <param name="Linears">The nodes that multiply by it in the place of the module.</param>
/// <param name="FirstRow">First of the module's rows; not 0 where the weight holds several modules, as <c>qkv_proj</c> does.</param>
internal sealed record AdapterTarget(AdapterModule Module, MatchedWeight Weight, IReadOnlyList<LinearUse> Linears, long FirstRow)
{
    private long K => Weight.Matrix.Shape.K;

    /// <summary>The change of an ordinary LoRA module.</summary>
    /// <param name="weightScale">What the graph multiplies the stored weight by (a Gemm's alpha).</param>
    /// <exception cref="AdapterException">A has another number of columns than the weight.</exception>
    internal LowRankChange Change(float weightScale) => Module.Columns == K
        ? new LowRankChange(FirstRow, Module.A, Module.B, Module.Scale / weightScale, 1)
        : throw new AdapterException(
            $"module '{Module.Path}': lora_A has {Module.Columns} columns; weight '{Weight.Name}' is {Weight.Matrix.Shape}{(K % Module.Columns == 0 ? " (a QA-LoRA adapter says use_qalora and qalora_group_size in adapter_config.json)" : "")}");

    /// <summary>The change of a QA-LoRA module, whose A reads groups of inputs.</summary>
    /// <param name="group">Inputs to a group.</param>
    /// <param name="pooling">What becomes of a group before A.</param>
    /// <param name="weightScale">As in <see cref="Change"/>.</param>
    /// <exception cref="AdapterException">A has another number of columns than the weight has groups.</exception>
    internal LowRankChange PooledChange(int group, AdapterPooling pooling, float weightScale)
    {
        if (group < 2 || K % group != 0 || Module.Columns != K / group)
        {
            throw new AdapterException($"module '{Module.Path}': lora_A has {Module.Columns} columns; weight '{Weight.Name}' is {Weight.Matrix.Shape}, in groups of {group}");
        }

        // Each weight of a group gets what the pooled input is multiplied by, times what pooling does to one input.
        var factor = pooling switch
        {
            AdapterPooling.Sum => 1.0,
            AdapterPooling.Mean => 1.0 / group,
            _ => (double)(K / group) / group,
        };
        return new LowRankChange(FirstRow, Module.A, Module.B, (float)(Module.Scale * factor) / weightScale, group);
    }
}

/// <summary>
/// Finds the weights of an adapter's modules by the names that exporters keep: the path of the node (<c>/model/layers.0/self_attn/q_proj/MatMul</c>)
/// or the name of the initializer (<c>model.layers.0.attn.q_proj.MatMul.weight</c>).
/// </summary>
internal static class AdapterTargets
{
    // Modules that exporters stack into one, in the order of their rows.
    private static readonly (string Packed, string[] Parts)[] Stacks =
        [("qkv_proj", ["q_proj", "k_proj", "v_proj"]), ("gate_up_proj", ["gate_proj", "up_proj"])];

    /// <summary>A target for every module.</summary>
    /// <param name="modules">The adapter's modules.</param>
    /// <param name="weights">The weights of the model.</param>
    /// <exception cref="AdapterException">Modules that no weight was found for, or shapes that do not fit.</exception>
    internal static IReadOnlyList<AdapterTarget> Find(IReadOnlyList<AdapterModule> modules, IReadOnlyList<MatchedWeight> weights)
    {
        var uses = weights.SelectMany(weight => weight.Linears.SelectMany(linear =>
            new[] { Normal(linear.Node.DisplayName()), Normal(weight.Matrix.Root.Name) }.Distinct().Select(path => (Path: path, Use: (weight, linear))))).ToList();
        var whole = uses.ToLookup(use => use.Path, use => use.Use);
        var endings = uses.SelectMany(use => Endings(use.Path).Select(path => (Path: path, use.Use))).ToLookup(use => use.Path, use => use.Use);
        var targets = new List<AdapterTarget>();
        var unknown = new List<string>();
        foreach (var module in modules)
        {
            var found = Lookup(whole, endings, Normal(module.Path));
            if (found.Count == 0) unknown.Add(module.Path);

            // One module of the trained model can stand in two branches of an If, each with a copy of the weight.
            foreach (var group in found.GroupBy(use => use.Weight))
            {
                var first = FirstRow(module, group.Key, group.First().Packed, Last(module.Path));
                targets.Add(new AdapterTarget(module, group.Key, [.. group.Select(use => use.Linear).Distinct()], first));
            }
        }

        if (unknown.Count == 0) return targets;
        throw new AdapterException($"the model has no linear layer for {unknown.Count} of the adapter's {modules.Count} modules: {LoraAdapter.Several(unknown)}");
    }

    /// <summary>What has this path: all of it, or one of the two is the other's end (a graph may hold a part of the trained model, or wrap it).</summary>
    private static List<(MatchedWeight Weight, LinearUse Linear, string? Packed)> Lookup(
        ILookup<string, (MatchedWeight Weight, LinearUse Linear)> whole, ILookup<string, (MatchedWeight Weight, LinearUse Linear)> endings, string path)
    {
        foreach (var (known, candidate) in Endings(path).Select(end => (whole, end)).Prepend((endings, path)))
        {
            if (known[candidate].Any()) return [.. known[candidate].Select(use => (use.Weight, use.Linear, (string?)null))];
            var cut = candidate.LastIndexOf('.') + 1;
            foreach (var (packed, members) in Stacks)
            {
                var stack = known[candidate[..cut] + packed];
                if (members.Contains(candidate[cut..]) && stack.Any()) return [.. stack.Select(use => (use.Weight, use.Linear, (string?)packed))];
            }
        }

        return [];
    }

    private static long FirstRow(AdapterModule module, MatchedWeight weight, string? packed, string name)
    {
        var rows = weight.Matrix.Shape.N;
        if (packed is null)
        {
            return module.N == rows ? 0 : throw Unfit(module, weight, $"lora_B has {module.N} rows");
        }

        if (module.N >= rows) throw Unfit(module, weight, $"lora_B has {module.N} rows, and {packed} holds more than {name}");

        // q comes first; k and v have the same number of rows, so the sizes of one tell where it is. gate and up are halves.
        var parts = Stacks.First(stack => stack.Packed == packed).Parts;
        var fromEnd = parts.Length - 1 - Array.IndexOf(parts, name);
        var first = Array.IndexOf(parts, name) == 0 ? 0 : rows - ((fromEnd + 1) * module.N);
        return first >= 0 ? first : throw Unfit(module, weight, $"lora_B has {module.N} rows");
    }

    private static AdapterException Unfit(AdapterModule module, MatchedWeight weight, string what) =>
        new($"module '{module.Path}': {what}; weight '{weight.Name}' is {weight.Matrix.Shape}");

    /// <summary>A path, and what is left of it without its first names: three names at least, such as <c>0.attn.q_proj</c>, or all there are.</summary>
    private static IEnumerable<string> Endings(string path)
    {
        var parts = path.Split('.');
        return Enumerable.Range(0, Math.Max(1, parts.Length - 2)).Select(skip => string.Join('.', parts[skip..]));
    }

    /// <summary>A path without what exporters add: separators, the op's name, <c>weight</c>; genai's builder calls <c>self_attn</c> <c>attn</c>.</summary>
    private static string Normal(string path)
    {
        var parts = path.Trim('/').Split('/', '.').Where(part => part.Length > 0).ToList();
        while (parts.Count > 1 && parts[^1] is "weight" or "MatMul" or "Gemm" or "base_layer" or "MatMulNBits" or "MatMul_Q4" or "qweight") parts.RemoveAt(parts.Count - 1);
        return string.Join('.', parts.Select(part => part == "self_attn" ? "attn" : part));
    }

    private static string Last(string path) => path[(path.LastIndexOf('.') + 1)..];
}
