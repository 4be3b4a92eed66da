using System.Globalization;
using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Quantizers;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Planning.Allocation;

/// <summary>Makes the sensitivity of units, once their errors are known.</summary>
/// <param name="errors">Errors of the units' weights.</param>
internal delegate IWeightSensitivity SensitivityFactory(IReadOnlyDictionary<AllocationUnit, CandidateErrors> errors);

/// <summary>
/// Gives every weight of a plan the bits and group size with which the model loses least within a budget. The loss of a weight is its
/// sensitivity times its relative squared error, and the losses add up.
/// </summary>
internal sealed class BitAllocator
{
    // Where widths are mixed within a weight bits are stored ones, and any number will do.
    private static readonly double[] CodeBits = [1, 2, 3, 4, 8], StoredBits = [2.3, 2.5, 2.7, 2.9, 3.1, 3.4, 3.8, 4.3];

    // Each correction costs a copy of the graph.
    private const int MostRounds = 12;

    private readonly OnnxModel _model;
    private readonly QuantizationPlan _plan;
    private readonly PlanOptions _options;
    private readonly CancellationToken _cancellation;
    private readonly List<AllocationUnit> _units = [];
    private readonly Dictionary<AllocationUnit, CandidateErrors> _errors = [];
    private readonly long _fixedBytes;
    private readonly double _values;

    /// <summary>Lists what can be chosen and measures the errors.</summary>
    /// <param name="model">The model; not changed.</param>
    /// <param name="plan">Which weights are packed; their bits are to be chosen.</param>
    /// <param name="options">What the plan was made from: group size and zero points where the user fixed them.</param>
    /// <param name="statisticsOf">What is known about the inputs of a packed weight; null for nothing.</param>
    /// <param name="progress">Told units done and in all.</param>
    /// <param name="cancellation">Ends the work with an exception.</param>
    internal BitAllocator(
        OnnxModel model, QuantizationPlan plan, PlanOptions options, Func<PackedWeight, IActivationStatistics?>? statisticsOf,
        IProgress<(int Done, int Total)>? progress, CancellationToken cancellation)
    {
        (_model, _plan, _options, _cancellation) = (model, plan, options, cancellation);
        var weights = PackedWeights.Prepare(model.Clone(), plan, cancellation).All;
        foreach (var (done, weight) in weights.Index())
        {
            cancellation.ThrowIfCancellationRequested();
            progress?.Report((done, weights.Count));
            _values += weight.Shape.Count;
            if (weight.Plan.Algorithm == PlannedWeight.Adopt || (IsHead(weight) && options.HeadBits is not null))
            {
                _fixedBytes += Bytes(weight, weight.Plan.Parameters);
                continue;
            }

            var errors = new CandidateErrors(weight.Source, statisticsOf?.Invoke(weight));
            var unit = new AllocationUnit(weight, Candidates(weight, errors));
            _units.Add(unit);
            _errors[unit] = errors;
        }

        progress?.Report((weights.Count, weights.Count));
    }

    /// <summary>The units, in the order of the plan.</summary>
    internal IReadOnlyList<AllocationUnit> Units => _units;

    /// <summary>Errors of the units' weights.</summary>
    internal IReadOnlyDictionary<AllocationUnit, CandidateErrors> Errors => _errors;

    /// <summary>Chooses.</summary>
    /// <param name="budget">The limits; all hold.</param>
    /// <param name="sensitivities">One a unit.</param>
    /// <param name="unit">What the losses are.</param>
    /// <exception cref="PlanException">Even the smallest choice is above the budget; the message says how small it could be.</exception>
    internal QuantizationPlan Choose(BitBudget budget, IReadOnlyList<double> sensitivities, string unit)
    {
        var solver = new BudgetSolver([.. _units.Select((item, i) => item.Candidates.Select(candidate => new AllocationOption(candidate.Bytes, sensitivities[i] * candidate.Error)).ToArray())]);
        var most = long.MaxValue;
        if (budget.BitsPerWeight is { } bits)
        {
            most = (long)(bits / 8 * _values) - _fixedBytes;
            var least = (solver.LeastBytes + _fixedBytes) * 8 / _values;
            if (most < solver.LeastBytes) throw new PlanException(string.Create(CultureInfo.InvariantCulture, $"bits is {bits}; with these options the weights take at least {least:0.00} each, scales and zero points included"));
        }

        if (budget.MaxBytes is not { } limit) return Apply(solver.Choose(most)!, sensitivities, unit);

        return Within(limit, most, solver, choice => Apply(choice, sensitivities, unit));
    }

    /// <summary>The best plan whose output is not larger than a limit. What there is besides packed weights depends a little on the choice: the search corrects itself.</summary>
    private QuantizationPlan Within(long limit, long mostPacked, BudgetSolver solver, Func<int[], QuantizationPlan> apply)
    {
        var best = apply(solver.Choose(solver.LeastBytes)!);
        var size = OutputSize.Of(_model, best, _cancellation);
        if (size > limit) throw new PlanException($"max-bytes is {limit}; with these options the model takes at least {size}");
        var (fits, exceeds) = (solver.LeastBytes, Math.Min(mostPacked, solver.MostBytes) + 1);
        var packed = fits + (limit - size);
        for (var round = 0; round < MostRounds && fits + 1 < exceeds; round++)
        {
            packed = packed > fits && packed < exceeds ? packed : fits + (exceeds - fits) / 2;
            var plan = apply(solver.Choose(packed)!);
            size = OutputSize.Of(_model, plan, _cancellation);
            if (size <= limit) (best, fits) = (plan, packed);
            else exceeds = packed;
            if (size <= limit && limit - size < limit / 5000) break;

            // A correction that is too small is followed by another: a smaller choice may bring functions of other formats with it.
            packed += size <= limit ? limit - size : -Math.Max(2 * (size - limit), limit / 200);
        }

        return best;
    }

    private static bool IsHead(PackedWeight weight) => weight.Tables.Count > 0 || weight.Linears.Any(parts => parts.Any(part => HeadFinder.IsHead(part.Use)));

    private long Bytes(PackedWeight weight, SchemeParameters parameters) =>
        WeightEncoding.StorageOf(weight, SchemeCatalog.Get(weight.Plan.Scheme), _plan.Emit, parameters).Tensors.Sum(tensor => tensor.ByteLength);

    private AllocationCandidate[] Candidates(PackedWeight weight, CandidateErrors errors)
    {
        var scheme = SchemeCatalog.Get(weight.Plan.Scheme);
        var algorithm = QuantizerCatalog.Get(weight.Plan.Algorithm);
        var context = new QuantizerContext(weight.Name) { Threads = _options.Threads, CancellationToken = _cancellation };
        int[] groups = _options.GroupSize is { } size ? [size] : [16, 32, 64, 128];
        var candidates = new List<AllocationCandidate>();
        OrtQuantException? refusal = null;
        foreach (var bits in scheme.BitsIncludeEverything ? StoredBits : CodeBits)
        {
            foreach (var group in groups)
            {
                SchemeParameters parameters;
                try
                {
                    parameters = scheme.Parse(Planner.ParametersJson(_options with { GroupSize = group }, bits));
                }
                catch (OrtQuantException exception)
                {
                    // A width or a group that this scheme does not have.
                    refusal = exception;
                    continue;
                }

                if (_plan.Emit == EmittedOps.Microsoft && MicrosoftStorage.Obstacle(weight.Shape, parameters, weight.Tables.Count > 0) is not null) continue;
                candidates.Add(new AllocationCandidate(parameters, Bytes(weight, parameters), errors.Of(algorithm, scheme, parameters, context)));
            }
        }

        if (candidates.Count == 0 && refusal is not null) throw refusal;

        // Of what is no smaller and no better than another, nothing is to be had.
        return [.. candidates.Where(one => !candidates.Exists(other => other != one && other.Bytes <= one.Bytes && other.Error <= one.Error && (other.Bytes, other.Error) != (one.Bytes, one.Error)))];
    }

    private QuantizationPlan Apply(int[] choice, IReadOnlyList<double> sensitivities, string unit)
    {
        var chosen = new Dictionary<string, (SchemeParameters Parameters, string Why)>();
        var losses = _units.Select((item, i) => sensitivities[i] * item.Candidates[choice[i]].Error).ToArray();
        var total = losses.Sum();
        for (var i = 0; i < _units.Count; i++)
        {
            var why = Why(_units[i], choice[i], sensitivities[i], total, unit);
            foreach (var entry in _units[i].Entries) chosen[entry] = (_units[i].Candidates[choice[i]].Parameters, why);
        }

        return _plan with
        {
            Weights = [.. _plan.Weights.Select(weight => chosen.TryGetValue(weight.Name, out var made) ? weight with { Parameters = made.Parameters, Why = made.Why } : weight)],
        };
    }

    /// <summary>What a choice costs, and what the next better one would give for how much.</summary>
    private static string Why(AllocationUnit unit, int choice, double sensitivity, double total, string lossUnit)
    {
        var candidate = unit.Candidates[choice];
        var loss = sensitivity * candidate.Error;
        var better = unit.Candidates.Where(other => other.Bytes > candidate.Bytes && other.Error < candidate.Error)
            .OrderByDescending(other => (candidate.Error - other.Error) / (other.Bytes - candidate.Bytes)).FirstOrDefault();
        var parts = unit.Weight.Parts.Count > 1 ? $" for {unit.Weight.Parts.Count} weights in one" : "";
        var text = string.Create(CultureInfo.InvariantCulture, $"{candidate.Parameters}: {candidate.Bytes / 1e6:0.###} MB{parts}, loss {loss:g3} ({lossUnit}), {(total > 0 ? 100 * loss / total : 0):0.0} % of all");
        return better is null ? text : string.Create(CultureInfo.InvariantCulture,
            $"{text}; {better.Parameters} would take {(better.Bytes - candidate.Bytes) / 1e6:0.###} MB more and {sensitivity * (candidate.Error - better.Error):g3} off it");
    }
}
