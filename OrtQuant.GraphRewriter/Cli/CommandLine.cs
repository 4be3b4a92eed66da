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

    private const string Debug = "--debug";
    private const string Json = "--json";

    /// <summary>The verbs, in the order in which help lists them.</summary>
    private static Command[] Commands() =>
    [
        new RewriteCommand(), new PlanCommand(), new InspectCommand(), new CompareCommand(), new PerplexityCommand(), new EvaluateCommand(), new RecommendCommand(),
        new GenerateCommand(), new BenchCommand(), new SchemesCommand(),
    ];

    /// <summary>The command line: every verb with its arguments and options.</summary>
    public static RootCommand CreateRoot()
    {
        var root = new RootCommand(Description)
        {
            new Option<bool>(Debug) { Description = "Show the stack of an error.", Recursive = true },
            new Option<bool>(Json) { Description = "Print one JSON object on standard output; messages go to standard error.", Recursive = true },
        };
        foreach (var command in Commands())
        {
            root.Subcommands.Add(command);
        }

        foreach (var help in root.Options.OfType<HelpOption>())
        {
            help.Action = new HelpWithExamples((HelpAction)help.Action!);
        }

        return root;
    }

    /// <summary>Runs the tool once.</summary>
    /// <param name="arguments">The command line without the program's name.</param>
    /// <param name="output">Receives results, and nothing else.</param>
    /// <param name="error">Receives progress, messages and errors.</param>
    /// <param name="cancellation">Signalled to stop early; the exit code is then 1.</param>
    /// <returns>One of <see cref="ExitCode"/>.</returns>
    public static async Task<int> RunAsync(string[] arguments, TextWriter output, TextWriter error, CancellationToken cancellation)
    {
        var result = CreateRoot().Parse(arguments);
        var streams = StreamsOf(result, output, error);
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

    /// <summary>The streams as the options say that every verb has.</summary>
    public static CommandStreams StreamsOf(ParseResult result, TextWriter output, TextWriter error) => new(
        output, error, IsSet(result, Json), IsSet(result, Debug) || Environment.GetEnvironmentVariable("ORTQUANT_DEBUG") == "1");

    private static bool IsSet(ParseResult result, string name) =>
        result.RootCommandResult.Command.Options.First(option => option.Name == name) is Option<bool> option && result.GetValue(option);

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
