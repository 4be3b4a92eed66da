using System.CommandLine;
using System.Diagnostics;

namespace OrtQuant.ModelGenerator;

/// <summary>The command line of the generator.</summary>
internal static class Program
{
    private static int Main(string[] args)
    {
        var folder = new Argument<string>("OUT") { Description = "Folder to write; an existing model.onnx in it is replaced." };
        var form = new Option<GraphForm>("--ops")
        {
            Description = "optimum: plain ONNX operators; genai: GroupQueryAttention and fused norms.",
            DefaultValueFactory = _ => GraphForm.Optimum,
        };
        var hidden = Size("--hidden", 2048, "Width of the residual stream.");
        var layers = Size("--layers", 22, "Decoder layers.");
        var ffn = Size("--ffn", 5632, "Width of the feed-forward part.");
        var heads = Size("--heads", 32, "Query heads.");
        var kvHeads = Size("--kv-heads", 4, "Key and value heads.");
        var vocabulary = Size("--vocab", 32000, "Tokens.");
        var positions = Size("--positions", 2048, "Longest sequence.");
        var tied = new Option<bool>("--tied") { Description = "Head and embedding share one weight." };
        var seed = new Option<ulong>("--seed") { Description = "Seed of the weights.", DefaultValueFactory = _ => 1 };
        var root = new RootCommand("Writes a Llama-shaped FP16 ONNX model of any size with random weights.")
        {
            folder, form, hidden, layers, ffn, heads, kvHeads, vocabulary, positions, tied, seed,
        };
        root.SetAction(parsed =>
        {
            int Get(Option<int> option) => parsed.GetValue(option);
            var shape = new LlamaShape(
                Get(layers), Get(hidden), Get(ffn), Get(heads), Get(kvHeads), Get(vocabulary), Get(positions), parsed.GetValue(tied));
            return Generate(parsed.GetValue(folder)!, shape, parsed.GetValue(form), parsed.GetValue(seed));
        });
        var result = root.Parse(args);
        var exitCode = result.Invoke();
        return result.Errors.Count > 0 ? 2 : exitCode;
    }

    private static Option<int> Size(string name, int value, string description) =>
        new(name) { Description = description, DefaultValueFactory = _ => value };

    private static int Generate(string folder, LlamaShape shape, GraphForm form, ulong seed)
    {
        if (shape.Validate(form) is { } problem)
        {
            Console.Error.WriteLine($"error: {problem}");
            return 2;
        }

        var watch = Stopwatch.StartNew();
        var bytes = ModelFiles.Write(folder, shape, form, seed, ProgressLine(shape));
        Console.Error.Write(Console.IsErrorRedirected ? "" : "\r");
        Console.WriteLine(
            $"{folder}: {shape.Parameters / 1e6:N1} million parameters, {bytes / 1e6:N1} MB, {watch.Elapsed.TotalSeconds:N1} s");
        return 0;
    }

    private static Progress? ProgressLine(LlamaShape shape) =>
        Console.IsErrorRedirected ? null : new Progress(2.0 * shape.Parameters);

    private sealed class Progress(double total) : IProgress<long>
    {
        public void Report(long value) => Console.Error.Write($"\r{100 * value / total,3:N0} %  {value / 1e6:N0} MB");
    }
}
