using System.Diagnostics;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Quantizers;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Calibration;

/// <summary>
/// Gathers what weights are multiplied with, by running the model in ONNX Runtime a segment at a time. For moments the original model is run once, and
/// weights are quantized later, when they are saved. For products of inputs the original and the rewritten model are run side by side: each weight is
/// quantized as soon as its statistics are complete, and the rewritten model goes on with it, so that every weight sees the inputs that it will
/// see.
/// </summary>
internal sealed class Calibrator : IDisposable
{
    // Weights of a session at most, in bytes of float32, where segments are as large as memory allows.
    private const long WeightBytesPerSegment = 32 << 20;

    private readonly CalibrationTargets _targets;
    private readonly CalibrationOptions _options;
    private readonly RewriteOptions _rewrite;
    private readonly OnnxModel _reference;
    private readonly OnnxModel _rewritten;
    private readonly string _outputFolder;
    private readonly int _threads;
    private readonly Dictionary<GeneratedTensor, WeightEncoding> _makers = [];
    private EncodedStore? _store;
    private float[] _rows = [];
    private float[] _referenceRows = [];

    /// <summary>Looks at what is to be calibrated.</summary>
    /// <param name="reference">The model before anything was packed.</param>
    /// <param name="rewritten">The same model with the nodes that read packed weights.</param>
    /// <param name="applied">Its weights.</param>
    /// <param name="rewrite">Threads, progress, cancellation.</param>
    /// <param name="outputFolder">Where encoded weights wait to be saved.</param>
    internal Calibrator(OnnxModel reference, OnnxModel rewritten, AppliedPlan applied, RewriteOptions rewrite, string outputFolder)
    {
        (_reference, _rewritten, _rewrite) = (reference, rewritten, rewrite);
        _options = rewrite.Calibration!;
        _targets = new CalibrationTargets(applied);
        _threads = rewrite.Threads > 0 ? rewrite.Threads : Environment.ProcessorCount;
        _outputFolder = outputFolder;
        foreach (var encoding in applied.Encodings)
        {
            foreach (var tensor in encoding.Generated) _makers[tensor] = encoding;
        }
    }

    /// <summary>Gathers statistics and hands them to the weights.</summary>
    /// <exception cref="RunningException">The model cannot be run.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    internal CalibrationReport Run()
    {
        try
        {
            return _options.Statistics is { } file ? FromFile(file) : FromModel();
        }
        catch (RunningException exception) when (!_options.Required)
        {
            foreach (var encoding in _targets.All) encoding.Algorithm = RoundToNearest.Instance.Name;
            return new CalibrationReport { Source = "none", Level = StatisticsLevel.None, Fallback = exception.Message };
        }
    }

    /// <summary>Lets go of the encoded weights: they are saved.</summary>
    public void Dispose() => _store?.Dispose();

    private CalibrationReport FromFile(StatisticsFile file)
    {
        if (_targets.Level > StatisticsLevel.Moments)
        {
            var name = _targets.All.First(encoding => QuantizerCatalog.Get(encoding.Algorithm).StatisticsNeeded == _targets.Level).Algorithm;
            throw new RunningException(
                $"algorithm '{name}' needs products of inputs, which depend on what is quantized before; {file.Path} holds moments: calibrate on text instead");
        }

        var start = Stopwatch.GetTimestamp();
        var without = new List<UncalibratedWeight>();
        foreach (var encoding in _targets.All)
        {
            encoding.Statistics = file.Find(encoding.Weight.Name, encoding.Weight.Shape.K);
            if (encoding.Statistics is null) without.Add(new UncalibratedWeight(encoding.Weight.Name, $"{file.Path} has no statistics of it"));
        }

        return new CalibrationReport
        {
            Source = file.Description,
            Level = file.Level,
            Tokens = file.Tokens,
            Weights = _targets.All.Count - without.Count,
            Uncalibrated = without,
            Seconds = Stopwatch.GetElapsedTime(start).TotalSeconds,
        };
    }

    private CalibrationReport FromModel()
    {
        var signature = ModelSignature.Of(_reference);
        signature.RequireTokens(Path.GetFileName(_reference.Path ?? "the model"));
        var start = Stopwatch.GetTimestamp();
        var sequences = _options.Sequences ?? OwnTextWriter.Write(_reference.Path ?? throw new RunningException("a model in memory cannot write text to be calibrated on; give some"), _options.OwnText, _rewrite, _outputFolder);
        var textSeconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        start = Stopwatch.GetTimestamp();
        var configuration = _reference.Path is { } path ? ModelConfiguration.Read(path) : ModelConfiguration.Empty;
        var batches = new List<TokenBatch>();
        try
        {
            foreach (var (ids, batch) in SequenceBatches.Of(sequences, signature.InputIds!.Dimensions[0] < 0))
            {
                batches.Add(new TokenBatch(signature, ids, batch, configuration, Path.GetFileName(_reference.Path ?? "the model")));
            }

            if (batches.Count == 0) throw new RunningException("there is nothing to calibrate on: at least one sequence of two ids is needed");
            var level = _targets.Level;
            var sequential = _options.Sequential ?? level > StatisticsLevel.Moments;
            var gathered = Gather(batches, sequential);
            if (_options.SaveTo is { } target) StatisticsFile.Save(target, gathered, Describe(sequences), sequences.Sum(sequence => (long)sequence.Length));
            return new CalibrationReport
            {
                Source = Describe(sequences),
                Level = level,
                Sequences = sequences.Count,
                Tokens = sequences.Sum(sequence => (long)sequence.Length),
                Sequential = sequential,
                Weights = _targets.All.Count - _targets.Without.Count,
                Uncalibrated = _targets.Without,
                TextSeconds = textSeconds,
                Seconds = Stopwatch.GetElapsedTime(start).TotalSeconds,
            };
        }
        finally
        {
            foreach (var batch in batches) batch.Dispose();
        }
    }

    private string Describe(IReadOnlyList<long[]> sequences) =>
        _options.Sequences is not null ? _options.Source : $"text that the model wrote itself ({sequences.Count} sequences, seed {_options.OwnText.Seed})";

    /// <summary>
    /// One pass of the original model, and where it is sequential of the rewritten one beside it. Moments of a single pass are kept until the weights are saved;
    /// otherwise weights are quantized on the way, because their statistics are large or because the rewritten model goes on with them.
    /// </summary>
    private List<(CalibratedInput Input, ActivationStatistics Statistics)> Gather(List<TokenBatch> batches, bool sequential)
    {
        var quantizes = sequential || _targets.Level > StatisticsLevel.Moments;
        if (quantizes) _store = new EncodedStore(_outputFolder);
        var graph = _targets.Segments(_reference.Graph);
        var segments = sequential ? graph.CutAtEveryInput() : graph.CutByWeight(WeightBytesPerSegment);
        var crosses = sequential && _targets.Level >= StatisticsLevel.CrossGram && _options.CrossProducts;
        using var reference = new ActivationStream(_reference, batches, Settings, Generate);
        using var rewritten = sequential ? new ActivationStream(_rewritten, batches, Settings, Generate) : null;
        var progress = new Progress(_rewrite, segments, batches.Count);
        var gathered = new List<(CalibratedInput Input, ActivationStatistics Statistics)>();
        for (var index = 0; index < segments.Count; index++)
        {
            var segment = segments[index];
            progress.Begin(segment);
            if (rewritten is null || crosses) reference.Open(segment);

            // Before the first linear the two are one, but for a packed embedding table, whose statistics (as a head's) come last.
            rewritten?.Open(segment, index == 0 ? reference : null);
            var sums = segment.Inputs.ToDictionary(input => input, input => Sums(input, crosses));
            for (var batch = 0; batch < batches.Count; batch++)
            {
                Run(rewritten is null || crosses ? reference : null, rewritten, batch, sums);
                progress.Step();
            }

            foreach (var (input, sum) in sums)
            {
                var statistics = sum.Finish();
                foreach (var weight in input.Weights) weight.Statistics = statistics;
                if (quantizes) Quantize(input);
                gathered.Add((input, statistics with { Gram = default, CrossGram = default }));
            }

            // Matrices of K x K are large objects, which are collected rarely where memory is plenty; the next segment makes its own.
            if (_targets.Level > StatisticsLevel.Moments) GC.Collect();
        }

        return gathered;
    }

    private void Run(ActivationStream? reference, ActivationStream? rewritten, int batch, Dictionary<CalibratedInput, InputStatistics> sums)
    {
        var cancellation = _rewrite.CancellationToken;
        if (reference is null)
        {
            rewritten!.Run(batch, values => Add(sums, values, null), cancellation);
            return;
        }

        reference.Run(
            batch,
            values =>
            {
                if (rewritten is null) Add(sums, values, null);
                else rewritten.Run(batch, quantized => Add(sums, quantized, values), cancellation);
            },
            cancellation);
    }

    private SessionSettings Settings => new() { Threads = _threads };

    private static InputStatistics Sums(CalibratedInput input, bool crosses)
    {
        var level = input.Weights.Max(weight => QuantizerCatalog.Get(weight.Algorithm).StatisticsNeeded);
        return new InputStatistics(input.K)
        {
            Gram = level >= StatisticsLevel.Gram ? new GramSum(input.K, symmetric: true) : null,
            CrossGram = crosses && level >= StatisticsLevel.CrossGram ? new GramSum(input.K, symmetric: false) : null,
        };
    }

    private void Add(Dictionary<CalibratedInput, InputStatistics> sums, IReadOnlyDictionary<string, OrtValue> values, IReadOnlyDictionary<string, OrtValue>? reference)
    {
        foreach (var (input, sum) in sums)
        {
            var rows = Rows(values[input.Name], input, ref _rows);
            sum.Add(rows, _threads);
            sum.Gram?.Add(rows, _threads);
            if (sum.CrossGram is null) continue;
            var original = Rows(reference![input.Name], input, ref _referenceRows);

            // Where a model chooses its experts, the quantized one may choose others.
            if (original.Length == rows.Length) sum.CrossGram.Add(original, rows, _threads);
            else sum.CrossGram = null;
        }
    }

    private static ReadOnlyMemory<float> Rows(OrtValue value, CalibratedInput input, ref float[] buffer)
    {
        var info = value.GetTensorTypeAndShape();
        if (info.Shape is not [.., var last] || last != input.K)
        {
            throw new RunningException($"'{input.Name}' has shape [{string.Join(", ", info.Shape)}]; the weight '{input.Weights[0].Weight.Name}' that reads it has K = {input.K}");
        }

        var count = checked((int)info.ElementCount);
        if (buffer.Length < count) buffer = GC.AllocateUninitializedArray<float>(count);
        if (count > 0) Elements.ToSingle(value.GetTensorMutableRawData(), info.ElementDataType, buffer.AsSpan(0, count));
        return buffer.AsMemory(0, count);
    }

    private void Quantize(CalibratedInput input)
    {
        foreach (var weight in input.Weights)
        {
            weight.StoreIn(_store!, _rewrite.CancellationToken);
            weight.Statistics = null;
        }
    }

    /// <summary>A packed tensor that a segment of the rewritten model reads; of a weight without statistics it is made now.</summary>
    private byte[] Generate(GeneratedTensor tensor)
    {
        var encoding = _makers[tensor];
        if (encoding.Stored is null) encoding.StoreIn(_store!, _rewrite.CancellationToken);
        return encoding.Stored!.Read(tensor.Index);
    }

    /// <summary>Progress in units of weights times batches.</summary>
    private sealed class Progress(RewriteOptions options, IReadOnlyList<Segment> segments, int batches)
    {
        private readonly long _total = segments.Sum(segment => segment.Cost) * batches;
        private long _done;
        private Segment? _segment;

        internal void Begin(Segment segment)
        {
            _segment = segment;
            Report();
        }

        internal void Step()
        {
            _done += _segment!.Cost;
            Report();
        }

        private void Report() =>
            options.Progress?.Report(new RewriteProgress("calibrating", _done, _total, _segment!.Inputs is [{ Weights: [{ Weight.Name: var name }, ..] }, ..] ? name : null));
    }
}
