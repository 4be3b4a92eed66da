using System.CommandLine;
using System.CommandLine.Help;
using OrtQuant.GraphRewriter.Cli.Commands;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>Exit codes of the tool.</summary>
internal static class ExitCode
{
    /// <summary>Done as asked.</summary>
    public const int Ok = 0;

    /// <summary>Ran and failed: bad input, a limit passed, cancelled.</summary>
    public const int Failed = 1;

    /// <summary>The command line itself is wrong: unknown option, missing file.</summary>
    public const int Usage = 2;
}

/// <summary>The command line as data: the root command, its verbs, parsing and invocation.</summary>
internal static class CommandLine
{
    private const string Description =
        "Low-bit quantization of LLM graphs for ONNX Runtime: rewrites FP16 ONNX models to custom ops, checks and measures them.";

    /// <summary>Prints the stack of an error; also on when the environment variable ORTQUANT_DEBUG is 1.</summary>
    public static Option<bool> Debug { get; } = new("--debug") { Description = "Show the stack of an error.", Recursive = true };

    /// <summary>Switches every verb to one JSON object on standard output.</summary>
    public static Option<bool> Json { get; } = new("--json") { Description = "Print one JSON object on standard output; messages go to standard error.", Recursive = true };

    /// <summary>The verbs, in the order in which help lists them.</summary>
    private static Command[] Commands() =>
    [
        new RewriteCommand(), new PlanCommand(), new InspectCommand(), new CompareCommand(), new PerplexityCommand(), new GenerateCommand(),
        new BenchCommand(), new SchemesCommand(),
    ];

    /// <summary>Runs the tool once.</summary>
    /// <param name="arguments">The command line without the program's name.</param>
    /// <param name="output">Receives results, and nothing else.</param>
    /// <param name="error">Receives progress, messages and errors.</param>
    /// <param name="cancellation">Signalled to stop early; the exit code is then 1.</param>
    /// <returns>One of <see cref="ExitCode"/>.</returns>
    public static async Task<int> RunAsync(string[] arguments, TextWriter output, TextWriter error, CancellationToken cancellation)
    {
        var root = new RootCommand(Description) { Debug, Json };
        foreach (var command in Commands())
        {
            root.Subcommands.Add(command);
        }

        foreach (var help in root.Options.OfType<HelpOption>())
        {
            help.Action = new HelpWithExamples((HelpAction)help.Action!);
        }

        var result = root.Parse(arguments);
        var streams = new CommandStreams(output, error, result.GetValue(Json), IsDebug(result));
        if (result.Errors.Count > 0 && result.Action is not (HelpWithExamples or { ClearsParseErrors: true }))
        {
            return streams.Fail(new UsageException($"{Error(result)} See 'ortquant{Verb(result)} --help'."));
        }

        try
        {
            var configuration = new InvocationConfiguration
            {
                Output = output,
                Error = error,
                EnableDefaultExceptionHandler = false,
                // Signals are handled by the caller.
                ProcessTerminationTimeout = null,
            };
            return await result.InvokeAsync(configuration, cancellation);
        }
#pragma warning disable CA1031 // The last handler of the process: every failure becomes one line and an exit code.
        catch (Exception exception)
#pragma warning restore CA1031
        {
            return streams.Fail(exception);
        }
    }

    // A word that is no verb explains why the verb is missing.
    private static string Error(ParseResult result) =>
        (result.Errors.FirstOrDefault(error => result.UnmatchedTokens.Any(error.Message.Contains)) ?? result.Errors[0]).Message;

    private static bool IsDebug(ParseResult result) =>
        result.GetValue(Debug) || Environment.GetEnvironmentVariable("ORTQUANT_DEBUG") == "1";

    private static string Verb(ParseResult result)
    {
        var names = new Stack<string>();
        for (var command = result.CommandResult; command is { Parent: System.CommandLine.Parsing.CommandResult parent }; command = parent)
        {
            names.Push(" " + command.Command.Name);
        }

        return string.Concat(names);
    }
}
