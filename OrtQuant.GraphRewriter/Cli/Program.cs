using System.CommandLine;

namespace OrtQuant.GraphRewriter.Cli;

internal static class Program
{
    private static Task<int> Main(string[] args)
    {
        var root = new RootCommand("Rewrites FP16 ONNX LLM graphs to low-bit custom operators of ONNX Runtime.");
        return root.Parse(args).InvokeAsync();
    }
}
