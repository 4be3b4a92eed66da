using System.Runtime.InteropServices;
using System.Text;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>Entry point of the <c>ortquant</c> tool: signals, streams and the exit code; everything else is <see cref="CommandLine"/>.</summary>
internal static class Program
{
    private static async Task<int> Main(string[] arguments)
    {
        // UTF-8 whatever the locale says: model outputs and file names are Unicode.
        var utf8 = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false);
        await using var output = new StreamWriter(Console.OpenStandardOutput(), utf8) { AutoFlush = true };
        await using var error = new StreamWriter(Console.OpenStandardError(), utf8) { AutoFlush = true };

        using var cancellation = new CancellationTokenSource();
        void Cancel(PosixSignalContext signal)
        {
            // The first signal asks for a clean end; a second one ends the process where it stands.
            if (!cancellation.IsCancellationRequested)
            {
                signal.Cancel = true;
                cancellation.Cancel();
            }
        }

        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Cancel);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Cancel);
        return await CommandLine.RunAsync(arguments, output, error, cancellation.Token);
    }
}
