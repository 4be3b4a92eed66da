using System.CommandLine;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>A verb of the tool. A verb declares its arguments in its constructor and does its work in <see cref="RunAsync"/>.</summary>
internal abstract class ToolCommand : Command
{
    /// <summary>Names the verb.</summary>
    /// <param name="name">The verb as typed.</param>
    /// <param name="description">What it does, in one sentence.</param>
    /// <param name="examples">Command lines that <c>--help</c> prints.</param>
    protected ToolCommand(string name, string description, params string[] examples)
        : base(name, description)
    {
        Examples = examples;
        SetAction(async (result, cancellation) =>
        {
            var configuration = result.InvocationConfiguration;
            var streams = CommandLine.StreamsOf(result, configuration.Output, configuration.Error);
            var context = new CommandContext(streams, cancellation);
            try
            {
                return await RunAsync(result, context);
            }
            catch (Exception exception) when (!context.HasResult)
            {
                return streams.Fail(exception);
            }
        });
    }

    /// <summary>Command lines to show in help.</summary>
    public IReadOnlyList<string> Examples { get; }

    /// <summary>Does the work of the verb.</summary>
    /// <param name="arguments">The parsed command line.</param>
    /// <param name="context">Where results, messages and progress go, and the cancellation token.</param>
    /// <returns>One of <see cref="ExitCode"/>.</returns>
    protected abstract Task<int> RunAsync(ParseResult arguments, CommandContext context);
}
