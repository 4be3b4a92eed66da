using System.Text.Json.Nodes;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>What a verb sees of the world: its result, its messages, its progress and its cancellation.</summary>
internal sealed class CommandContext(CommandStreams streams, CancellationToken cancellation)
{
    /// <summary>Signalled by Ctrl-C and SIGTERM.</summary>
    public CancellationToken Cancellation { get; } = cancellation;

    /// <summary>Results are JSON.</summary>
    public bool Json => streams.Json;

    /// <summary>The verb has written its result: a later failure must not write another.</summary>
    public bool HasResult { get; private set; }

    /// <summary>Standard output for text that is streamed before the result is known; nothing under <c>--json</c>.</summary>
    public TextWriter Text => streams.Json ? TextWriter.Null : streams.Output;

    /// <summary>Writes the one result of the verb: JSON when asked for, else text.</summary>
    /// <param name="json">Makes the JSON object.</param>
    /// <param name="text">Writes the same for a reader.</param>
    /// <exception cref="InvalidOperationException">The result was written already.</exception>
    public void WriteResult(Func<JsonObject> json, Action<TextWriter> text)
    {
        if (HasResult)
        {
            throw new InvalidOperationException("a verb writes its result once");
        }

        if (streams.Json)
        {
            streams.WriteJson(json());
        }
        else
        {
            text(streams.Output);
        }

        HasResult = true;
    }

    /// <summary>A message to the user, on standard error.</summary>
    public void Log(string message) => streams.Error.WriteLine(message);

    /// <summary>Runs long work off the calling thread, showing its progress: bars on a terminal, plain lines elsewhere.</summary>
    /// <param name="work">The work; it reports its stages and polls <see cref="Cancellation"/>.</param>
    public Task<T> RunAsync<T>(Func<IProgress<StageProgress>, T> work) =>
        Console.IsErrorRedirected ? PlainProgress.RunAsync(streams.Error, work) : BarProgress.RunAsync(work);
}
