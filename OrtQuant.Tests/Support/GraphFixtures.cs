using Google.Protobuf;
using Onnx;
using OrtQuant.Descriptions;
using static OrtQuant.Tests.Support.ModelBuilder;

namespace OrtQuant.Tests.Support;

/// <summary>A small model of one kind that exporters write.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Write">Writes it into a folder and gives the path of the .onnx file.</param>
/// <param name="Runs">ONNX Runtime has CPU kernels for it as it stands.</param>
internal sealed record GraphFixture(string Name, Func<string, string> Write, bool Runs = true)
{
    public override string ToString() => Name;
}

/// <summary>
/// Every kind of graph that has to be understood, by name, in float16 unless the name says otherwise. All take <c>x</c> [batch, 32]
/// and give <c>y</c>; seeded weights, so that two writes have equal bytes.
/// </summary>
internal static class GraphFixtures
{
    private const int K = 32;
    private const int N = 48;
    private const ElementType Half = ElementType.Float16;

    /// <summary>All of them.</summary>
    internal static IReadOnlyList<GraphFixture> All { get; } =
    [
        new("if-merged-decoder", folder => IfMergedDecoder().Save(folder)),
        new("loop-body", folder => LoopBody().Save(folder)),
        new("scan-body", folder => ScanBody().Save(folder)),
        new("model-local-function", folder => ModelLocalFunction().Save(folder)),
        new("function-with-forwarded-type", folder => FunctionWithForwardedType().Save(folder)),
        new("expert-weights-3d", folder => ExpertWeights().Save(folder)),
        new("external-files", ExternalFiles),
        new("constant-weights", folder => ConstantWeights().Save(folder)),
        new("bfloat16", folder => BFloat16().Save(folder), Runs: false),
        new("gemm-flags", folder => GemmFlags().Save(folder)),
        new("shared-initializer", folder => SharedInitializer().Save(folder)),
        new("initializer-inputs", folder => InitializerInputs().Save(folder)),
        new("shadowed-names", folder => ShadowedNames().Save(folder)),
        new("single-float32-weight", folder => SingleFloat32Weight().Save(folder)),
        new("unsorted-nodes", folder => UnsortedNodes().Save(folder)),
        new("two-models", TwoModels),
    ];

    internal static GraphFixture Get(string name) => All.Single(fixture => fixture.Name == name);

    /// <summary>Both branches of one decoder, as Optimum merges them: each has weights of its own, one is read from outside.</summary>
    internal static ModelBuilder IfMergedDecoder() => Start()
        .Input("use_cache", ElementType.Bool)
        .Weight("shared", Half, 1, K, N)
        .Node("MatMul", ["x", "shared"], ["h"])
        .Node("If", ["use_cache"], ["y"], Graph("then_branch", Branch("with_past", 2)), Graph("else_branch", Branch("without_past", 3)))
        .Output("y", Half, "batch", N);

    /// <summary>A Loop that runs three times over a weight of its body.</summary>
    internal static ModelBuilder LoopBody() => Start()
        .Initializer(Scalar("trips", 3))
        .Initializer(True("go"))
        .Node("Loop", ["trips", "go", "x"], ["y"], Graph("body", Body("body", body => body
            .Input("i", ElementType.Int64).Input("go_in", ElementType.Bool).Input("state", Half, "batch", K)
            .Weight("w", Half, 4, K, K)
            .Node("Identity", ["go_in"], ["go_out"])
            .Node("MatMul", ["state", "w"], ["product"])
            .Node("Tanh", ["product"], ["next"])
            .Output("go_out", ElementType.Bool).Output("next", Half, "batch", K))))
        .Output("y", Half, "batch", K);

    /// <summary>A Scan over the batch, whose body reads a weight from outside.</summary>
    internal static ModelBuilder ScanBody() => Start()
        .Weight("w", Half, 5, K, N)
        .Weight("start", Half, 6, 1, N)
        .Node("Scan", ["start", "x"], ["last", "y"], Int("num_scan_inputs", 1), Graph("body", Body("body", body => body
            .Input("sum_in", Half, 1, N).Input("row", Half, K)
            .Node("MatMul", ["row", "w"], ["product"])
            .Node("Add", ["sum_in", "product"], ["sum_out"])
            .Node("Identity", ["product"], ["each"])
            .Output("sum_out", Half, 1, N).Output("each", Half, N))))
        .Output("y", Half, "batch", N);

    /// <summary>A function of the model's own, called twice with different weights.</summary>
    internal static ModelBuilder ModelLocalFunction() => Start()
        .Opset("local", 1)
        .Weight("w1", Half, 7, K, K).Weight("w2", Half, 8, K, K)
        .Function(new FunctionProto
        {
            Domain = "local",
            Name = "Linear",
            Input = { "a", "w" },
            Output = { "r" },
            OpsetImport = { new OperatorSetIdProto { Version = 18 } },
            Node =
            {
                new NodeProto { OpType = "MatMul", Input = { "a", "w" }, Output = { "p" } },
                new NodeProto { OpType = "Constant", Output = { "scale" }, Attribute = { Constant(Random("", Half, 9, 1)) } },
                new NodeProto { OpType = "Mul", Input = { "p", "scale" }, Output = { "r" } },
            },
        })
        .Node(Call("Linear", ["x", "w1"], "h"))
        .Node(Call("Linear", ["h", "w2"], "y"))
        .Output("y", Half, "batch", K);

    /// <summary>A function that casts to the type its caller names.</summary>
    internal static ModelBuilder FunctionWithForwardedType() => Start()
        .Opset("local", 1)
        .Weight("w", Half, 10, K, N)
        .Function(new FunctionProto
        {
            Domain = "local",
            Name = "RoundTrip",
            Input = { "a" },
            Output = { "r" },
            Attribute = { "type" },
            OpsetImport = { new OperatorSetIdProto { Version = 18 } },
            Node =
            {
                new NodeProto { OpType = "Cast", Input = { "a" }, Output = { "wide" }, Attribute = { Int("to", (long)ElementType.Float32) } },
                new NodeProto
                {
                    OpType = "Cast",
                    Input = { "wide" },
                    Output = { "r" },
                    Attribute = { new AttributeProto { Name = "to", Type = AttributeProto.Types.AttributeType.Int, RefAttrName = "type" } },
                },
            },
        })
        .Node(Call("RoundTrip", ["x"], "h", Int("type", (long)Half)))
        .Node("MatMul", ["h", "w"], ["y"])
        .Output("y", Half, "batch", N);

    /// <summary>One matrix for each of four experts.</summary>
    internal static ModelBuilder ExpertWeights() => Start()
        .Weight("experts", Half, 11, 4, K, N)
        .Node("MatMul", ["x", "experts"], ["y"])
        .Output("y", Half, 4, "batch", N);

    /// <summary>Weights as values of Constant nodes.</summary>
    internal static ModelBuilder ConstantWeights() => Start()
        .Node("Constant", [], ["w"], Constant(Random("", Half, 12, K, N)))
        .Node("MatMul", ["x", "w"], ["h"])
        .Node("Constant", [], ["shape"], new AttributeProto { Name = "value_ints", Type = AttributeProto.Types.AttributeType.Ints, Ints = { -1, N } })
        .Node("Reshape", ["h", "shape"], ["y"])
        .Output("y", Half, "batch", N);

    /// <summary>Weights and activations in bfloat16.</summary>
    internal static ModelBuilder BFloat16() => new ModelBuilder()
        .Input("x", ElementType.BFloat16, "batch", K)
        .Weight("w", ElementType.BFloat16, 13, K, N)
        .Node("MatMul", ["x", "w"], ["h"])
        .Node("Cast", ["h"], ["wide"], Int("to", (long)ElementType.Float32))
        .Node("Sigmoid", ["wide"], ["gate"])
        .Node("Cast", ["gate"], ["y"], Int("to", (long)ElementType.BFloat16))
        .Output("y", ElementType.BFloat16, "batch", N);

    /// <summary>Gemm with transA, transB, alpha, beta, and each shape of C.</summary>
    internal static ModelBuilder GemmFlags() => Start()
        .Weight("w1", Half, 14, K, N).Weight("b1", Half, 15, N)
        .Weight("w2", Half, 16, N, N).Weight("b2", Half, 17, 1)
        .Weight("w3", Half, 18, N, N)
        .Node("Gemm", ["x", "w1", "b1"], ["h1"], Float("alpha", 0.5f), Float("beta", 2))
        .Node("Gemm", ["h1", "w2", "b2"], ["h2"], Int("transB", 1))
        .Node("Transpose", ["h2"], ["h2t"], Ints("perm", 1, 0))
        .Node("Gemm", ["h2t", "w3", "h2"], ["y"], Int("transA", 1), Int("transB", 1), Float("beta", -1))
        .Output("y", Half, "batch", N);

    /// <summary>One initializer that two nodes multiply by, and that a third gathers rows of through a Transpose.</summary>
    internal static ModelBuilder SharedInitializer() => Start()
        .Input("ids", ElementType.Int64, "batch")
        .Weight("w", Half, 19, K, N)
        .Node("MatMul", ["x", "w"], ["a"])
        .Node("Neg", ["x"], ["minus"])
        .Node("MatMul", ["minus", "w"], ["b"])
        .Node("Transpose", ["w"], ["table"], Ints("perm", 1, 0))
        .Node("Gather", ["table", "ids"], ["rows"])
        .Node("MatMul", ["rows", "w"], ["c"])
        .Node("Sum", ["a", "b", "c"], ["y"])
        .Output("y", Half, "batch", N);

    /// <summary>An initializer that a caller may replace, as old exporters list all of them.</summary>
    internal static ModelBuilder InitializerInputs() => Start()
        .Input("w1", Half, K, N)
        .Weight("w1", Half, 20, K, N)
        .Weight("w2", Half, 21, N, N)
        .Node("MatMul", ["x", "w1"], ["h"])
        .Node("MatMul", ["h", "w2"], ["y"])
        .Output("y", Half, "batch", N);

    /// <summary>Branches that each have a value of the same name, and one name in a branch that the main graph has too, further on.</summary>
    internal static ModelBuilder ShadowedNames() => Start()
        .Input("flag", ElementType.Bool)
        .Weight("w", Half, 22, K, N)
        .Node("MatMul", ["x", "w"], ["h"])
        .Node("If", ["flag"], ["chosen"], Graph("then_branch", Branch("a", 23)), Graph("else_branch", Branch("b", 24)))
        .Node("Relu", ["chosen"], ["y"])
        .Output("y", Half, "batch", N);

    /// <summary>One weight in float32 between casts, as exporters leave it behind.</summary>
    internal static ModelBuilder SingleFloat32Weight() => Start()
        .Weight("w1", Half, 25, K, N)
        .Weight("w2", ElementType.Float32, 26, N, N)
        .Node("MatMul", ["x", "w1"], ["h"])
        .Node("Cast", ["h"], ["wide"], Int("to", (long)ElementType.Float32))
        .Node("MatMul", ["wide", "w2"], ["product"])
        .Node("Cast", ["product"], ["narrow"], Int("to", (long)Half))
        .Node("Add", ["narrow", "h"], ["y"])
        .Output("y", Half, "batch", N);

    /// <summary>Nodes in an order in which they cannot run; ONNX Runtime sorts them.</summary>
    internal static ModelBuilder UnsortedNodes() => Start()
        .Weight("w", Half, 27, K, N)
        .Node("Tanh", ["h"], ["y"])
        .Node("MatMul", ["x", "w"], ["h"])
        .Output("y", Half, "batch", N);

    /// <summary>Data in three files, one in a folder below; two tensors share a file.</summary>
    private static string ExternalFiles(string folder)
    {
        var model = Start()
            .Weight("w1", Half, 28, K, N).Weight("w2", Half, 29, N, N).Weight("w3", Half, 30, N, N).Weight("w4", Half, 31, N, N)
            .Node("MatMul", ["x", "w1"], ["h1"])
            .Node("MatMul", ["h1", "w2"], ["h2"])
            .Node("MatMul", ["h2", "w3"], ["h3"])
            .Node("MatMul", ["h3", "w4"], ["y"])
            .Output("y", Half, "batch", N);
        var tensors = model.Proto.Graph.Initializer;
        MoveToFile(folder, tensors[0], "first.bin", 0);
        MoveToFile(folder, tensors[1], "first.bin", 4096);
        MoveToFile(folder, tensors[2], "second.bin", 3);
        MoveToFile(folder, tensors[3], "below/third.bin", 0);
        return model.Save(folder);
    }

    /// <summary>Two models in one folder: nothing says which is meant.</summary>
    private static string TwoModels(string folder)
    {
        SharedInitializer().Save(folder, "other.onnx");
        return ConstantWeights().Save(folder);
    }

    /// <summary>Moves the raw data of a tensor into a file.</summary>
    internal static void MoveToFile(string folder, TensorProto tensor, string location, long offset)
    {
        var path = Path.Combine(folder, location);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        using (var file = File.OpenWrite(path))
        {
            file.Position = offset;
            file.Write(tensor.RawData.Span);
        }

        var length = tensor.RawData.Length;
        tensor.ClearRawData();
        tensor.DataLocation = TensorProto.Types.DataLocation.External;
        foreach (var (key, value) in new[] { ("location", location), ("offset", $"{offset}"), ("length", $"{length}") })
        {
            tensor.ExternalData.Add(new StringStringEntryProto { Key = key, Value = value });
        }
    }

    private static ModelBuilder Start() => new ModelBuilder().Input("x", Half, "batch", K);

    /// <summary>A branch: a weight of its own, h from outside, and inner names that both branches have.</summary>
    private static GraphProto Branch(string name, int seed) => Body(name, body => body
        .Weight("inner_w", Half, seed, N, N)
        .Node("MatMul", ["h", "inner_w"], ["inner"])
        .Node("Add", ["inner", "h"], ["result"])
        .Output("result", Half, "batch", N));

    private static NodeProto Call(string function, string[] inputs, string output, params AttributeProto[] attributes) =>
        new() { Domain = "local", OpType = function, Name = $"/{output}/{function}", Input = { inputs }, Output = { output }, Attribute = { attributes } };

    private static TensorProto Scalar(string name, long value) => new() { Name = name, DataType = (int)ElementType.Int64, Int64Data = { value } };

    private static TensorProto True(string name) => new() { Name = name, DataType = (int)ElementType.Bool, RawData = ByteString.CopyFrom(1) };
}
