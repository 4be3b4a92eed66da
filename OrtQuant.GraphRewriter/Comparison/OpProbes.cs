using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Onnx;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Comparison;

/// <summary>One op of ours in a rewritten model.</summary>
/// <param name="Node">The node.</param>
/// <param name="Constants">The constants that it reads, by name.</param>
/// <param name="Input">The activations that it reads, or indices: a value of the main graph; null inside a body of If, Loop or Scan.</param>
internal sealed record ProbedOp(NodeProto Node, IReadOnlyDictionary<string, TensorProto> Constants, string? Input)
{
    internal string Name => Node.Name.Length > 0 ? Node.Name : Node.Output[0];

    internal long Attribute(string name) => Node.Attribute.FirstOrDefault(attribute => attribute.Name == name)?.I ?? 0;
}

/// <summary>How far one op's kernel is from its function body.</summary>
/// <param name="Op">The op.</param>
/// <param name="IsHalf">Its output is in half precision.</param>
/// <param name="RelativeL2">Relative L2 error of the output.</param>
internal sealed record OpDifference(ProbedOp Op, bool IsHalf, double RelativeL2);

/// <summary>
/// Runs every op of ours by itself, with the library and as its function body, on the inputs that it meets in the graph. What the layers after an op make of a rounding
/// difference is not seen here, so the limit can be that of one op.
/// </summary>
internal sealed class OpProbes : IDisposable
{
    internal const string Domain = "ortquant";

    // Function bodies hold their weights at full width or repacked; so many values at a time.
    private const long ValuesAtATime = 1 << 26;
    private const int MadeRows = 4;

    private readonly string _file;
    private readonly ModelProto _model;
    private readonly ComparisonOptions _options;
    private readonly Dictionary<string, OrtValue> _inputs = [];

    /// <summary>Runs the whole graph once and keeps what its ops read.</summary>
    /// <param name="file">The rewritten model.</param>
    /// <param name="model">Its graph.</param>
    /// <param name="options">How to open it.</param>
    /// <param name="cancellation">Stops the run.</param>
    internal OpProbes(string file, ModelProto model, ComparisonOptions options, CancellationToken cancellation)
    {
        (_file, _model, _options) = (file, model, options);
        Ops = [.. Find(model.Graph, new Dictionary<string, TensorProto>(), isMain: true)];
        Capture(cancellation);
    }

    internal IReadOnlyList<ProbedOp> Ops { get; }

    /// <summary>Compares ops.</summary>
    /// <param name="ops">Some of <see cref="Ops"/>; each has a function body in the model.</param>
    /// <param name="level">Accuracy level to run at; null: the one written in each.</param>
    /// <param name="cancellation">Stops the runs.</param>
    internal IReadOnlyList<OpDifference> Compare(IReadOnlyList<ProbedOp> ops, int? level, CancellationToken cancellation)
    {
        var differences = new List<OpDifference>();
        for (var first = 0; first < ops.Count;)
        {
            var (count, values) = (0, 0L);
            do
            {
                values += ops[first + count].Attribute("N") * ops[first + count].Attribute("K");
                count++;
            }
            while (first + count < ops.Count && values < ValuesAtATime);
            differences.AddRange(CompareTogether([.. ops.Skip(first).Take(count)], level, cancellation));
            first += count;
        }

        return differences;
    }

    public void Dispose()
    {
        foreach (var value in _inputs.Values) value.Dispose();
    }

    private static IEnumerable<ProbedOp> Find(GraphProto graph, IReadOnlyDictionary<string, TensorProto> outer, bool isMain)
    {
        var constants = new Dictionary<string, TensorProto>(outer);
        foreach (var tensor in graph.Initializer) constants[tensor.Name] = tensor;
        foreach (var node in graph.Node.Where(node => node is { OpType: "Constant", Attribute: [{ Name: "value", T: not null }] })) constants[node.Output[0]] = node.Attribute[0].T;
        foreach (var node in graph.Node)
        {
            if (node.Domain == Domain && node.Input.Skip(1).All(input => input.Length == 0 || constants.ContainsKey(input))) yield return new ProbedOp(node, constants, isMain ? node.Input[0] : null);
            foreach (var op in ProtoWalk.Bodies(node).SelectMany(body => Find(body, constants, isMain: false))) yield return op;
        }
    }

    private void Capture(CancellationToken cancellation)
    {
        var given = _model.Graph.Input.Select(input => input.Name).ToHashSet();
        var wanted = Ops.Select(op => op.Input).OfType<string>().Distinct().ToList();
        if (wanted.Count == 0) return;
        var tapped = _model.Clone();
        tapped.Graph.Output.AddRange(wanted.Except(given).Except(tapped.Graph.Output.Select(output => output.Name)).Select(name => new ValueInfoProto { Name = name }));
        using var session = SessionFactory.Open(_file, _options.Model with { Graph = tapped.ToByteArray() });
        var signature = ModelSignature.Of(session);
        var made = new MadeInputs(_file, signature, ModelConfiguration.Read(_options.ConfigurationOf ?? _file), _options).First();
        var computed = wanted.Where(name => !given.Contains(name)).ToList();
        foreach (var (name, value) in computed.Zip(Run(session, made, computed, cancellation))) _inputs[name] = value;
        foreach (var (name, value) in made)
        {
            if (wanted.Contains(name)) _inputs[name] = value;
            else value.Dispose();
        }
    }

    private List<OpDifference> CompareTogether(IReadOnlyList<ProbedOp> ops, int? level, CancellationToken cancellation)
    {
        var own = new List<OrtValue>();
        try
        {
            var inputs = ops.Select(op => op.Input is not null ? _inputs[op.Input] : Make(op, own)).ToList();
            var graph = Isolate(ops, inputs, level).ToByteArray();
            var fed = inputs.Select((value, i) => (Name: $"x{i}", value)).ToDictionary(pair => pair.Name, pair => pair.value);
            using var bodies = SessionFactory.Open(_file, _options.Reference with { UseLibrary = false, Graph = graph });
            using var kernels = SessionFactory.Open(_file, _options.Model with { Graph = graph });
            var names = ops.Select((_, i) => $"y{i}").ToList();
            using var expected = Run(bodies, fed, names, cancellation);
            using var actual = Run(kernels, fed, names, cancellation);
            return [.. ops.Select((op, i) => new OpDifference(
                op,
                expected[i].GetTensorTypeAndShape().ElementDataType != TensorElementType.Float,
                ComparisonStep.Compare(op.Name, expected[i], actual[i]).RelativeL2))];
        }
        finally
        {
            own.ForEach(value => value.Dispose());
        }
    }

    /// <summary>A model of nothing but these ops.</summary>
    private ModelProto Isolate(IReadOnlyList<ProbedOp> ops, List<OrtValue> inputs, int? level)
    {
        var model = new ModelProto { IrVersion = _model.IrVersion, OpsetImport = { _model.OpsetImport }, Functions = { _model.Functions }, Graph = new GraphProto { Name = "ops" } };
        var names = new Dictionary<TensorProto, string>(ReferenceEqualityComparer.Instance);
        for (var i = 0; i < ops.Count; i++)
        {
            var node = ops[i].Node.Clone();
            if (level is { } wanted) SetLevel(node, wanted);
            model.Graph.Input.Add(Declaration($"x{i}", inputs[i]));
            model.Graph.Output.Add(new ValueInfoProto { Name = $"y{i}" });
            node.Output[0] = $"y{i}";
            node.Input[0] = $"x{i}";
            for (var j = 1; j < node.Input.Count; j++)
            {
                if (node.Input[j].Length == 0) continue;
                var constant = ops[i].Constants[node.Input[j]];
                if (!names.TryGetValue(constant, out var name))
                {
                    names[constant] = name = $"c{names.Count}";
                    var copy = constant.Clone();
                    copy.Name = name;
                    model.Graph.Initializer.Add(copy);
                }

                node.Input[j] = name;
            }

            model.Graph.Node.Add(node);
        }

        return model;
    }

    private static ValueInfoProto Declaration(string name, OrtValue value)
    {
        var info = value.GetTensorTypeAndShape();
        var type = new TypeProto.Types.Tensor { ElemType = (int)info.ElementDataType, Shape = new TensorShapeProto() };
        type.Shape.Dim.AddRange(info.Shape.Select(size => new TensorShapeProto.Types.Dimension { DimValue = size }));
        return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = type } };
    }

    internal static void SetLevel(NodeProto node, int level)
    {
        foreach (var attribute in node.Attribute.Where(attribute => attribute.Name == "accuracy_level")) attribute.I = level;
    }

    /// <summary>Inputs of an op inside a body, which no output of the model can show: float32 rows, or indices.</summary>
    private OrtValue Make(ProbedOp op, List<OrtValue> own)
    {
        var random = new Random(_options.Seed);
        var (n, k) = (op.Attribute("N"), checked((int)op.Attribute("K")));
        var value = op.Node.OpType.StartsWith("Gather", StringComparison.Ordinal)
            ? OrtValue.CreateTensorValueFromMemory(Enumerable.Range(0, MadeRows).Select(_ => random.NextInt64(n)).ToArray(), [MadeRows])
            : OrtValue.CreateTensorValueFromMemory(Enumerable.Range(0, MadeRows * k).Select(_ => random.NextSingle() - 0.5f).ToArray(), [MadeRows, k]);
        own.Add(value);
        return value;
    }

    private static IDisposableReadOnlyCollection<OrtValue> Run(InferenceSession session, Dictionary<string, OrtValue> inputs, List<string> outputs, CancellationToken cancellation)
    {
        using var options = new RunOptions();
        using var registration = cancellation.Register(() => options.Terminate = true);
        try
        {
            return session.Run(options, inputs.Keys, inputs.Values, outputs);
        }
        catch (OnnxRuntimeException exception)
        {
            cancellation.ThrowIfCancellationRequested();
            throw new RunningException($"ONNX Runtime cannot run the model: {exception.Message}", exception);
        }
    }
}
