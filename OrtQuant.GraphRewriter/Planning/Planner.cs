using System.Text.Json.Nodes;
using OrtQuant.Attention;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Adapters;
using OrtQuant.GraphRewriter.Adoption;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Matching;
using OrtQuant.GraphRewriter.Quantizers;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Transforms;
using OrtQuant.GraphRewriter.Transforms.Attention;
using OrtQuant.GraphRewriter.Transforms.Norms;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;
using OrtQuant.Schemes.Smooth;

namespace OrtQuant.GraphRewriter.Planning;

/// <summary>Decides what happens to each weight that was found.</summary>
internal sealed class Planner
{
    /// <summary>int8 activations: at 4 bits they cost less than the weights' own rounding by far, and run several times faster than float ones.</summary>
    internal const int DefaultAccuracyLevel = 4;

    private const int FloatLevel = 1;

    // A packed tensor is made in one piece of memory.
    private const long LargestTensor = int.MaxValue;
    private const int DefaultHeadBits = 8;

    // With 256 codes a group's zero point costs a quarter of a bit and gains nothing that can be measured.
    private const int BitsWithoutZeroPoint = 8;

    private readonly PlanOptions _options;
    private readonly CancellationToken _cancellation;
    private readonly IWeightScheme _scheme;
    private readonly SchemeParameters _parameters;
    private readonly IWeightScheme _headScheme;
    private readonly SchemeParameters _headParameters;
    private readonly List<PlannedWeight> _weights = [];
    private readonly List<SkippedNode> _skipped = [];
    private readonly HashSet<MatchedWeight> _pooled = [];
    private int _pool;
    private bool _float32;
    private string _libraryOnly = "";

    internal Planner(PlanOptions options, CancellationToken cancellation)
    {
        _options = options;
        _cancellation = cancellation;
        try
        {
            _scheme = SchemeCatalog.Get(options.Scheme);
            QuantizerCatalog.Get(options.Algorithm);
            _parameters = _scheme.Parse(ParametersJson(options, options.Bits));
            _headScheme = _scheme.HeadScheme;
            _headParameters = _headScheme.Parse(ParametersJson(ForHead(options), options.HeadBits ?? DefaultHeadBits));
        }
        catch (OrtQuantException exception)
        {
            throw new PlanException(exception.Message, exception);
        }

        if (options.AccuracyLevel is { } level and not (0 or 1 or 4)) throw new PlanException($"accuracy level is {level}; it must be 0, 1 or 4");
    }

    internal QuantizationPlan Plan(OnnxModel model)
    {
        var transforms = new List<Transform>();
        var prepared = model;
        if (InlineFunctions.IsNeeded(model))
        {
            var inline = new InlineFunctions();
            prepared = model.Clone();
            inline.Apply(prepared);
            transforms.Add(inline);
        }

        if (_options.SimplifyShapes && Simplified(prepared) is { } simplified)
        {
            prepared = simplified;
            transforms.Add(new SimplifyShapes());
        }

        if (FusesAttention(prepared) && WithAttention(prepared) is { } fused)
        {
            prepared = fused;
            transforms.Add(new FuseAttention());
            if (_options.SimplifyShapes && Simplified(prepared) is { } again)
            {
                prepared = again;
                transforms.Add(new SimplifyShapes());
            }
        }

        using var adapter = _options.Adapter is null ? null : LoraAdapter.Open(_options.Adapter);
        using var adapted = MergesAdapter(adapter) ? prepared.Clone() : null;
        if (adapted is not null)
        {
            var merge = new MergeAdapter(Path.GetFullPath(_options.Adapter!));
            merge.Apply(adapted);
            prepared = adapted;
            transforms.Add(merge);
        }

        if (prepared.Proto.Functions.Count > 0)
        {
            _skipped.AddRange(new FunctionInliner(prepared.Proto).NotInlinable.Select(item => new SkippedNode(item.Function.Name, "function", item.Reason)));
        }

        // Changes types only: what is matched, and under which names, is the same before and after.
        _float32 = _options.Float32Activations && Float32Activations.IsNeeded(prepared);
        if (_float32) transforms.Add(new Float32Activations(_options.Io));
        if (_options.Fuse && NormFuser.IsNeeded(prepared)) transforms.Add(new FuseNorms());

        using var rotated = _options.Rotation == RotationChoice.None ? null : prepared.Clone();
        if (rotated is not null)
        {
            transforms.Add(Rotate(rotated));
            prepared = rotated;
        }

        if (_options.Emit == EmittedOps.OrtQuant && prepared.Opset() < _scheme.Op.MinimumFallbackOpset)
        {
            _libraryOnly = $"; opset {prepared.Opset()} has no function body ({_scheme.Op.MinimumFallbackOpset} or newer has), so the model opens with the library only";
        }

        var matched = WeightMatcher.Match(prepared);
        _skipped.AddRange(matched.Skipped);
        var shared = SharedTables(matched);
        if (adapter?.Configuration is { IsQuantizationAware: true } configuration)
        {
            _pool = configuration.QuantizationGroup;
            _pooled.UnionWith(AdapterTargets.Find(adapter.Modules, matched.Weights).Select(target => target.Weight));
        }

        foreach (var weight in matched.Weights) Decide(weight, shared);
        transforms.AddRange(shared.Where(pair => Planned(pair.Value.Name) is not null).Select(pair => new ShareEmbedding(pair.Key.Name, pair.Value.Name)));
        if (adapter is not null && adapted is null) transforms.Add(new AttachAdapter(Path.GetFullPath(_options.Adapter!), _options.AdapterPooling));
        if (_options.Merge) transforms.AddRange(Merges(matched));
        return new QuantizationPlan
        {
            Target = _options.Target,
            Emit = _options.Emit,
            Transforms = transforms,
            Weights = _weights,
            Skipped = _skipped,
        };
    }

    /// <summary>Rotates the inputs of down projections; those that cannot be are listed with the reason, and packed as they are.</summary>
    private RotateInputs Rotate(OnnxModel model)
    {
        if (_options.Emit != EmittedOps.OrtQuant) throw new PlanException($"rotation needs {HadamardOp.Transform.Domain}::{HadamardOp.Transform.Name}, which is not written with microsoft's ops");
        var found = DownProjections.Find(WeightMatcher.Match(model)).ToList();
        if (found.Count == 0) throw new PlanException("no linear reads the activations of a feed-forward block, so there is nothing to rotate");
        foreach (var use in found)
        {
            if (RotateInputs.Obstacle(use) is { } obstacle) _skipped.Add(new SkippedNode(use.Node.DisplayName(), HadamardOp.Transform.Name, $"its input is not rotated: {obstacle}"));
        }

        var rotation = new RotateInputs([.. found.Where(use => RotateInputs.Obstacle(use) is null).Select(use => use.Node.DisplayName())]);
        if (rotation.Nodes.Count == 0) throw new PlanException($"no input can be rotated; {_skipped[^1].Name}: {_skipped[^1].Reason}");
        rotation.Apply(model);
        return rotation;
    }

    /// <summary>The op needs our library, which has its kernels for CPUs only, and a function body where it is not.</summary>
    private bool FusesAttention(OnnxModel model) =>
        _options is { Fuse: true, Emit: EmittedOps.OrtQuant, Target: RewriteTarget.Cpu } && model.Opset() >= MaskedAttentionOp.Description.MinimumFallbackOpset;

    /// <summary>The model after <see cref="FuseAttention"/>; null where nothing was fused.</summary>
    private OnnxModel? WithAttention(OnnxModel model)
    {
        var clone = model.Clone();
        var (fused, unfused) = AttentionFuser.Run(clone);
        _skipped.AddRange(unfused.Select(softmax => new SkippedNode(softmax.Node.DisplayName(), softmax.Node.OpType, $"attention is not fused: {softmax.Reason}")));
        return fused > 0 ? clone : null;
    }

    private bool MergesAdapter(LoraAdapter? adapter)
    {
        if (adapter is null) return false;
        if (!adapter.Configuration.IsQuantizationAware) return _options.AdapterMode == AdapterMode.Merge;
        return _options.AdapterMode == AdapterMode.Merge ? false : throw new PlanException("the adapter is QA-LoRA, which is merged into zero points without loss; it is not kept as low-rank inputs");
    }

    /// <summary>A QA-LoRA adapter is merged into float zero points, a whole number of groups to each of its own.</summary>
    private SchemeParameters ForAdapter(MatchedWeight weight, SchemeParameters parameters)
    {
        if (!_pooled.Contains(weight) || parameters is not GroupParameters group) return parameters;
        var adopts = weight.Matrix.Quantized is not null;
        return group with { ZeroPoint = ZeroPointKind.Float, GroupSize = adopts || _options.GroupSize is not null ? group.GroupSize : Math.Min(group.GroupSize, _pool) };
    }

    /// <summary>The model after <see cref="SimplifyShapes"/>; null where no node would go.</summary>
    private static OnnxModel? Simplified(OnnxModel model)
    {
        var clone = model.Clone();
        new SimplifyShapes().Apply(clone);
        return Nodes(clone) < Nodes(model) ? clone : null;

        static int Nodes(OnnxModel model) => model.AllGraphs.Sum(graph => graph.Nodes.Count);
    }

    /// <summary>Who asks for 8-bit weights asks for an error that int8 activations would be five times larger than.</summary>
    private int OwnAccuracyLevel => _options.Bits >= BitsWithoutZeroPoint ? FloatLevel : DefaultAccuracyLevel;

    private PlannedWeight? Planned(string name) => _weights.Find(weight => weight.Name == name);

    /// <summary>The options without those that only the scheme of the other weights knows.</summary>
    private PlanOptions ForHead(PlanOptions options) =>
        _headScheme == _scheme ? options : options with { ActivationBits = null, SmoothSize = null, SmoothScope = null, Levels = null };

    /// <summary>What options say of a scheme's parameters at a number of bits.</summary>
    internal static JsonObject ParametersJson(PlanOptions options, double? bits)
    {
        var json = new JsonObject();
        if (bits is { } b) json["bits"] = b == Math.Floor(b) ? JsonValue.Create((int)b) : JsonValue.Create(b);
        if (options.GroupSize is { } size) json["group_size"] = size;
        if (options.Symmetric || bits >= BitsWithoutZeroPoint) json["zero_point"] = "none";
        if (options.ActivationBits is { } activationBits) json["activation_bits"] = activationBits;
        if (options.SmoothSize is { } smoothSize) json["smooth_size"] = smoothSize;
        if (options.SmoothScope is { } scope) json["smooth_scope"] = scope;
        if (options.Levels is { } levels) json["levels"] = levels;
        return json;
    }

    /// <summary>Embedding tables that are a second copy of a linear's weight, by content.</summary>
    private Dictionary<MatchedWeight, MatchedWeight> SharedTables(MatchedModel matched)
    {
        var shared = new Dictionary<MatchedWeight, MatchedWeight>();
        if (_options.Embedding == EmbeddingChoice.Keep) return shared;
        var tables = matched.Weights.Where(weight => weight is { Linears.Count: 0, Tables.Count: > 0, Matrix.Quantized: null });
        foreach (var table in tables)
        {
            var head = matched.Weights.FirstOrDefault(weight =>
                weight is { Linears.Count: > 0, Matrix: { Scale: 1, Quantized: null } } && SameWeights.Compare(table.Matrix, weight.Matrix, _cancellation));
            if (head is not null) shared[table] = head;
        }

        return shared;
    }

    private void Decide(MatchedWeight weight, Dictionary<MatchedWeight, MatchedWeight> shared)
    {
        if (weight.Matrix.Quantized is { } codes)
        {
            DecideAdopted(weight, codes);
            return;
        }

        if (weight.Linears.Count == 0)
        {
            if (!shared.ContainsKey(weight)) DecideTable(weight);
            return;
        }

        var copies = shared.Where(pair => pair.Value == weight).SelectMany(pair => pair.Key.Tables).ToList();
        var tables = _options.Embedding == EmbeddingChoice.Keep ? [] : weight.Tables.Concat(copies).ToList();
        var isHead = tables.Count > 0 || weight.Linears.Any(HeadFinder.IsHead);
        var (scheme, parameters) = isHead ? (_headScheme, _headParameters) : (_scheme, _parameters);
        parameters = ForAdapter(weight, parameters);
        if (Obstacle(weight, scheme, parameters, tables.Count > 0) is { } reason)
        {
            _skipped.AddRange(weight.Linears.Select(linear => Skip(linear.Node, reason)));
            return;
        }

        var why = (isHead, tables.Count) switch
        {
            (true, > 0) => $"head and embedding in one: {parameters}",
            (true, _) => $"head: {parameters}",
            _ => parameters.ToString()!,
        };
        Add(weight, [.. weight.Linears.Select(linear => linear.Node), .. tables.Select(table => table.Node)], scheme, parameters, why);
    }

    private void DecideTable(MatchedWeight weight)
    {
        var reason = _options.Embedding == EmbeddingChoice.Pack
            ? Obstacle(weight, _headScheme, _headParameters, isTable: true)
            : "embedding that no packed head holds as well; its rows are only copied, so packing it saves space, not time";
        if (reason is null)
        {
            Add(weight, [.. weight.Tables.Select(table => table.Node)], _headScheme, _headParameters, $"embedding: {_headParameters}");
        }
        else
        {
            _skipped.AddRange(weight.Tables.Select(table => Skip(table.Node, reason)));
        }
    }

    /// <summary>A weight that is quantized already keeps codes, scales and zero points, in scheme group unless the chosen one holds just these; its nodes keep their accuracy level.</summary>
    private void DecideAdopted(MatchedWeight weight, StoredCodes codes)
    {
        var tables = _options.Embedding == EmbeddingChoice.Keep ? [] : weight.Tables;
        var nodes = weight.Linears.Select(linear => linear.Node).Concat(tables.Select(table => table.Node)).ToList();
        var parameters = ForAdapter(weight, codes.Capture().Parameters());
        IWeightScheme scheme = GroupScheme.Instance;
        if (tables.Count == 0 && _options.Emit == EmittedOps.OrtQuant && parameters is GroupParameters grouped && _scheme.Holding(grouped) is { } own)
        {
            (scheme, parameters) = (_scheme, own);
        }

        var reason = (codes.Layout, _options.Emit) switch
        {
            (CodeLayout.N16, EmittedOps.OrtQuant) => "it is an ortquant op already",
            (CodeLayout.Rows, EmittedOps.Microsoft) => "it is a com.microsoft op already",
            _ => Obstacle(weight, scheme, parameters, tables.Count > 0),
        };
        if (reason is not null || nodes.Count == 0)
        {
            reason ??= "embeddings are kept as they are";
            _skipped.AddRange(weight.Linears.Select(linear => linear.Node).Concat(weight.Tables.Select(table => table.Node)).Select(node => Skip(node, reason)));
            return;
        }

        var level = weight.Linears is [{ Node: var first }, ..] && first.OpType == "MatMulNBits" ? (first.GetInt("accuracy_level", 0) == 4 ? 4 : 1) : DefaultAccuracyLevel;
        Add(weight, nodes, scheme, parameters, $"quantized already: {parameters}, its codes, scales and zero points stay{(_pooled.Contains(weight) ? " but for what the adapter adds" : "")}", PlannedWeight.Adopt, level);
    }

    private void Add(
        MatchedWeight weight, IReadOnlyList<OnnxNode> consumers, IWeightScheme scheme, SchemeParameters parameters, string why, string? algorithm = null, int? accuracyLevel = null) =>
        _weights.Add(new PlannedWeight(
            weight.Name,
            weight.Matrix.Shape,
            [.. consumers.Select(node => node.DisplayName())],
            scheme.Name,
            parameters,
            algorithm ?? _options.Algorithm,
            _options.AccuracyLevel ?? accuracyLevel ?? OwnAccuracyLevel,
            why + _libraryOnly));

    /// <summary>Why a weight is not packed, or null.</summary>
    private string? Obstacle(MatchedWeight weight, IWeightScheme scheme, SchemeParameters parameters, bool isTable)
    {
        var names = weight.Linears.Select(linear => linear.Node.DisplayName())
            .Concat(weight.Tables.Select(table => table.Node.DisplayName())).Append(weight.Name).ToList();
        if (_options.Exclude is { } exclude && names.Any(exclude.IsMatch)) return $"excluded by '{exclude}'";
        if (_options.Only is { } only && !names.Any(only.IsMatch)) return $"not among '{only}'";
        var matrix = weight.Matrix;
        if (matrix.Type is not (ElementType.Float32 or ElementType.Float16) && !(_float32 && matrix.Type == ElementType.BFloat16))
        {
            return $"activations are {matrix.Type.ToString().ToLowerInvariant()}; {scheme.Op.Name} takes float32 and float16";
        }

        if (_options.Emit == EmittedOps.Microsoft && MicrosoftStorage.Obstacle(matrix.Shape, parameters, isTable) is { } limit) return limit;

        long packed;
        try
        {
            var tensors = scheme.Tensors(matrix.Shape, parameters);
            if (tensors.FirstOrDefault(tensor => tensor.ByteLength > LargestTensor) is { } large)
            {
                return $"weight {matrix.Shape} is too large: {large.ByteLength} bytes packed in one tensor, {LargestTensor} at most; fewer bits may fit";
            }

            packed = tensors.Sum(tensor => tensor.ByteLength);
        }
        catch (OrtQuantException exception)
        {
            return exception.Message;
        }

        if (matrix.Quantized is not null) return null;
        var original = matrix.StoredType.ByteLength(matrix.Shape.Count);
        return packed >= original ? $"weight {matrix.Shape} is too small: {packed} bytes packed, {original} as it is" : null;
    }

    private static bool IsHeld(string scheme, WeightShape shape, SchemeParameters parameters) =>
        SchemeCatalog.Get(scheme).Tensors(shape, parameters).All(tensor => tensor.ByteLength <= LargestTensor);

    private static SkippedNode Skip(OnnxNode node, string reason) => new(node.DisplayName(), node.OpType, reason);

    /// <summary>Linears that read the same value, are alike, and are each the only reader of their weight.</summary>
    private IEnumerable<MergeLinears> Merges(MatchedModel matched)
    {
        var candidates = matched.Weights
            .Where(weight => weight is { Linears: [{ TransposeX: false, Addend: null }], Tables.Count: 0 })
            .Select(weight => (Matched: weight, Linear: weight.Linears[0], Planned: Planned(weight.Name)))
            .Where(candidate => candidate.Planned is { Consumers.Count: 1 });
        return candidates
            .GroupBy(candidate => (candidate.Linear.X, candidate.Linear.Node.Graph, candidate.Matched.Matrix.Type, candidate.Matched.Matrix.Shape.K,
                candidate.Planned!.Scheme, candidate.Planned.Parameters, candidate.Planned.Algorithm, candidate.Planned.AccuracyLevel))
            .Where(group => group.Count() > 1 && IsHeld(group.Key.Scheme, new WeightShape(group.Sum(candidate => candidate.Matched.Matrix.Shape.N), group.Key.K), group.Key.Parameters))
            .Select(group => new MergeLinears([.. group.Select(candidate => candidate.Matched.Name)]));
    }
}
