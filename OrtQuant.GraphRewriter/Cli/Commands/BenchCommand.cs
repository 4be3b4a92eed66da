using System.CommandLine;

namespace OrtQuant.GraphRewriter.Cli.Commands;

/// <summary><c>ortquant bench</c>: the verbs that measure speed.</summary>
internal sealed class BenchCommand : Command
{
    /// <summary>Declares the verbs.</summary>
    public BenchCommand()
        : base("bench", "Measure speed next to ONNX Runtime's own op, in the same process.")
    {
        Subcommands.Add(new BenchOpsCommand());
        Subcommands.Add(new BenchModelCommand());
    }
}
