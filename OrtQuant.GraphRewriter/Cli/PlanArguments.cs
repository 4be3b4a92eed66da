using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using OrtQuant.GraphRewriter.Adapters;
using OrtQuant.GraphRewriter.Calibration;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Planning.Allocation;
using OrtQuant.GraphRewriter.Quantizers;
using OrtQuant.GraphRewriter.Transforms;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>Makes the plan that the options describe.</summary>
/// <param name="model">The model; not changed.</param>
/// <param name="progress">Told stages where planning takes long.</param>
/// <param name="cancellation">Ends the work with an exception.</param>
internal delegate QuantizationPlan PlanMaker(OnnxModel model, IProgress<StageProgress> progress, CancellationToken cancellation);

/// <summary>The options that say what a rewrite does, shared by <c>rewrite</c> and <c>plan</c>: choices, or a plan made before.</summary>
internal sealed class PlanArguments
{
    private static readonly TimeSpan MatchTimeout = TimeSpan.FromSeconds(5);

    private readonly Option<string> _scheme = OneOf("--scheme", "group", "How weights are held", [.. SchemeCatalog.All.Select(scheme => scheme.Name)]);
    private readonly AllocationArguments _allocation = new();
    private readonly Option<int?> _headBits = Number("--head-bits", "B", "Bits of the language-model head and of embeddings (default: 8).");
    private readonly Option<int?> _groupSize = Number("--group-size", "G", "Consecutive weights that share a scale; -1 for a whole row (default: 32; scheme dual: 128, lut: 64).");
    private readonly Option<int?> _activationBits = Number("--activation-bits", "B", "Scheme smooth: bits of quantized activations, 4 or 8 (default: 4).");
    private readonly Option<int?> _smoothSize = Number("--smooth-size", "G", "Scheme smooth: activations of a token that are divided by one maximum (default: the group size, 128 for whole rows).");
    private readonly Option<string?> _smoothScope = OneOfOrNone("--smooth-scope", "Scheme smooth: tokens over which that maximum is taken (default: token)", "call", "token", "none");
    private readonly Option<string> _rotate = OneOf("--rotate", "none", "Activations that are rotated by a Hadamard transform: none, or the inputs of down projections", "none", "down");
    private readonly Option<string?> _levels = OneOfOrNone("--levels", "Scheme lut: a coefficient for each plane of a group, or evenly spaced levels (default: free)", "free", "uniform");
    private readonly Option<bool> _symmetric = new("--symmetric") { Description = "No zero points (8-bit weights have none anyway)." };
    private readonly Option<string?> _algorithm = OneOfOrNone(
        "--algorithm", "How codes and scales are chosen (default: that of --quality)", [.. QuantizerCatalog.All.Select(quantizer => quantizer.Name)]);

    private readonly Option<string?> _quality = OneOfOrNone(
        "--quality", $"How much to spend on quality (default: {QualityRecipe.Balanced.Name}; {QualityRecipe.Fast.Name} with --bits 8 and no text)", [.. QualityRecipe.All.Select(recipe => recipe.Name)]);
    private readonly Option<string?> _accuracyLevel = OneOfOrNone(
        "--accuracy-level", "How the kernels compute (default: float with --bits 8, else int8 activations)", "float", "int8", "0", "1", "4");
    private readonly Option<string> _target = OneOf("--target", "cpu", "Where the model is meant to run", "cpu", "cuda");
    private readonly Option<string?> _activations = OneOfOrNone("--activations", "Type inside the graph (default: fp32 for cpu, keep for cuda)", "keep", "fp32");
    private readonly Option<string> _io = OneOf("--io", "keep", "Type of the graph's inputs and outputs", "keep", "fp32");
    private readonly Option<string> _emit = OneOf("--emit", "ortquant", "Whose ops to write; microsoft needs no library", "ortquant", "microsoft");
    private readonly Option<string> _embedding = OneOf(
        "--embedding", "shared", "Embeddings to pack: those that share their values with a head, all, or none", "shared", "pack", "keep");
    private readonly Option<bool> _noMerge = new("--no-merge") { Description = "Keep linears apart that read the same input." };
    private readonly Option<bool> _noSimplify = new("--no-simplify") { Description = "Keep the nodes that compute shapes for every layer." };
    private readonly Option<bool> _noFuse = new("--no-fuse") { Description = "Keep attention and norms as the nodes that the export wrote for them." };
    private readonly Option<string?> _adapter = new("--adapter") { Description = "A LoRA or QA-LoRA adapter: a folder with adapter_config.json and adapter_model.safetensors.", HelpName = "DIR" };
    private readonly Option<string> _adapterMode = OneOf(
        "--adapter-mode", "merge", "A LoRA adapter is added to the weights before they are quantized, or kept beside them", "merge", "low-rank");
    private readonly Option<string> _adapterPooling = OneOf("--adapter-pooling", "peft", "What the trainer of a QA-LoRA adapter did to a group of inputs", "peft", "mean", "sum");
    private readonly Option<string?> _exclude = new("--exclude") { Description = "Leave alone weights whose name, or a node that reads them, matches.", HelpName = "REGEX" };
    private readonly Option<string?> _only = new("--only") { Description = "Rewrite only weights whose name, or a node that reads them, matches.", HelpName = "REGEX" };
    private readonly Option<string?> _plan = new("--plan") { Description = "Do what this plan says: the JSON of 'ortquant plan --json', edited or not.", HelpName = "FILE" };

    private IEnumerable<Option> Choices =>
        [_scheme, .. _allocation.Options, _headBits, _groupSize, _activationBits, _smoothSize, _smoothScope, _rotate, _levels, _symmetric, _quality, _algorithm, _accuracyLevel, _target, _activations, _io, _emit, _embedding, _noMerge, _noSimplify, _noFuse, _adapter, _adapterMode, _adapterPooling, _exclude, _only];

    /// <summary>Adds the options to a verb.</summary>
    public void AddTo(Command command)
    {
        foreach (var option in Choices.Append(_plan)) command.Options.Add(option);
        Calibration.AddTo(command);
    }

    /// <summary>Where statistics come from.</summary>
    public CalibrationArguments Calibration { get; } = new();

    /// <summary>Reads the options, and the plan file if one is given, without touching the model.</summary>
    /// <exception cref="UsageException">Options that exclude each other, or a file that is not there.</exception>
    /// <exception cref="PlanException">A plan file that cannot be used.</exception>
    public PlanMaker Read(ParseResult arguments)
    {
        if (arguments.GetValue(_plan) is { } file)
        {
            var given = Choices.FirstOrDefault(option => arguments.GetResult(option) is { Implicit: false });
            if (given is not null) throw new UsageException($"--plan and {given.Name} exclude each other: edit the plan instead");
            var plan = ReadPlan(file);
            Calibration.Validate(arguments, null);
            return (_, _, _) => plan;
        }

        var options = ReadOptions(arguments);
        if (_allocation.Read(arguments, SchemeCatalog.Get(options.Scheme)) is not { } allocation) return (model, _, cancellation) => QuantizationPlan.Create(model, options, cancellation);
        if (Calibration.Statistics(arguments) is { } statistics) allocation = allocation with { Statistics = statistics };
        return (model, progress, cancellation) => AllocatedPlan.Create(model, options, allocation, progress.ForStages(), cancellation);
    }

    /// <summary>How statistics are gathered for a plan. A model that cannot be calibrated is an error only where the user asks for an algorithm by name.</summary>
    public CalibrationOptions Gathering(ParseResult arguments, QuantizationPlan plan) => arguments.GetValue(_algorithm) is null
        ? QualityRecipe.CalibrationOf(plan) with { Required = false }
        : new CalibrationOptions();

    private QualityRecipe Recipe(ParseResult arguments) => arguments.GetValue(_quality) is { } quality
        ? QualityRecipe.Get(quality)
        : QualityRecipe.Default(_allocation.UniformBits(arguments, SchemeCatalog.Get(arguments.GetValue(_scheme)!)), Calibration.AreGiven(arguments));

    /// <summary>The algorithm: named, or that of the recipe.</summary>
    private string Algorithm(ParseResult arguments)
    {
        var (named, quality) = (arguments.GetValue(_algorithm), arguments.GetValue(_quality));
        if (named is not null && quality is not null) throw new UsageException("--quality and --algorithm exclude each other: a quality is an algorithm and what goes with it");
        var recipe = Recipe(arguments);

        // A file of statistics holds no products of inputs.
        var algorithm = named ?? (recipe == QualityRecipe.Balanced && Calibration.AreSaved(arguments) ? WeightedSearch.Instance.Name : recipe.Algorithm);
        var uses = QuantizerCatalog.Get(algorithm).StatisticsNeeded > StatisticsLevel.None;
        Calibration.Validate(arguments, uses ? null : algorithm);
        return algorithm;
    }

    private PlanOptions ReadOptions(ParseResult arguments) => new()
    {
        Scheme = arguments.GetValue(_scheme)!,
        Bits = _allocation.UniformBits(arguments, SchemeCatalog.Get(arguments.GetValue(_scheme)!)),
        HeadBits = arguments.GetValue(_headBits),
        GroupSize = arguments.GetValue(_groupSize),
        ActivationBits = arguments.GetValue(_activationBits),
        SmoothSize = arguments.GetValue(_smoothSize),
        SmoothScope = arguments.GetValue(_smoothScope),
        Rotation = arguments.GetValue(_rotate) == "down" ? RotationChoice.Down : RotationChoice.None,
        Levels = arguments.GetValue(_levels),
        Symmetric = arguments.GetValue(_symmetric),
        Algorithm = Algorithm(arguments),
        AccuracyLevel = arguments.GetValue(_accuracyLevel) switch { "float" or "1" => 1, "0" => 0, "int8" or "4" => 4, _ => null },
        Target = arguments.GetValue(_target) == "cuda" ? RewriteTarget.Cuda : RewriteTarget.Cpu,
        Activations = arguments.GetValue(_activations) switch
        {
            "keep" => ActivationType.Keep,
            "fp32" => ActivationType.Float32,
            _ => null,
        },
        Io = arguments.GetValue(_io) == "fp32" ? InterfaceType.Float32 : InterfaceType.Keep,
        Emit = arguments.GetValue(_emit) == "microsoft" ? EmittedOps.Microsoft : EmittedOps.OrtQuant,
        Embedding = arguments.GetValue(_embedding) switch
        {
            "pack" => EmbeddingChoice.Pack,
            "keep" => EmbeddingChoice.Keep,
            _ => EmbeddingChoice.Shared,
        },
        Merge = !arguments.GetValue(_noMerge),
        SimplifyShapes = !arguments.GetValue(_noSimplify),
        Fuse = !arguments.GetValue(_noFuse),
        Adapter = Adapter(arguments),
        AdapterMode = arguments.GetValue(_adapterMode) == "low-rank" ? AdapterMode.LowRank : AdapterMode.Merge,
        AdapterPooling = AttachAdapter.PoolingNames.First(pair => pair.Value == arguments.GetValue(_adapterPooling)).Key,
        Exclude = Pattern(_exclude, arguments),
        Only = Pattern(_only, arguments),
    };

    private string? Adapter(ParseResult arguments)
    {
        if (arguments.GetValue(_adapter) is { } folder) return folder;
        var given = new Option[] { _adapterMode, _adapterPooling }.FirstOrDefault(option => arguments.GetResult(option) is { Implicit: false });
        return given is null ? null : throw new UsageException($"{given.Name} needs --adapter");
    }

    private static QuantizationPlan ReadPlan(string file)
    {
        if (!File.Exists(file)) throw new UsageException($"no such file: {file}");
        try
        {
            return QuantizationPlan.FromJson(
                JsonNode.Parse(File.ReadAllText(file)) as JsonObject ?? throw new PlanException("it is no JSON object"));
        }
        catch (Exception exception) when (exception is PlanException or JsonException)
        {
            throw new PlanException($"plan {file}: {exception.Message}", exception);
        }
    }

    private static Regex? Pattern(Option<string?> option, ParseResult arguments)
    {
        if (arguments.GetValue(option) is not { } pattern) return null;
        try
        {
            return new Regex(pattern, RegexOptions.CultureInvariant, MatchTimeout);
        }
        catch (ArgumentException exception)
        {
            throw new UsageException($"{option.Name} is no regular expression: {exception.Message}");
        }
    }

    private static Option<int?> Number(string name, string helpName, string description) => new(name) { Description = description, HelpName = helpName };

    private static Option<string> OneOf(string name, string defaultValue, string description, params string[] values)
    {
        var option = new Option<string>(name)
        {
            Description = $"{description} (default: {defaultValue}).",
            HelpName = string.Join('|', values),
            DefaultValueFactory = _ => defaultValue,
        };
        Restrict(option, values);
        return option;
    }

    private static Option<string?> OneOfOrNone(string name, string description, params string[] values)
    {
        var option = new Option<string?>(name) { Description = $"{description}.", HelpName = string.Join('|', values) };
        Restrict(option, values);
        return option;
    }

    private static void Restrict(Option option, string[] values) => option.Validators.Add(result =>
    {
        if (result.Tokens is [var token] && !values.Contains(token.Value))
        {
            result.AddError($"{option.Name} is '{token.Value}'; it must be one of {string.Join(", ", values)}.");
        }
    });
}
