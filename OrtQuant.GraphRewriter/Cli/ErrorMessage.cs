using System.Text.Json;
using System.Text.RegularExpressions;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>Turns any exception into one line for a user, and an exit code.</summary>
internal static partial class ErrorMessage
{
    /// <summary>The line to print and the exit code to return for <paramref name="exception"/>.</summary>
    public static (string Message, int ExitCode) Describe(Exception exception)
    {
        var cause = Unwrap(exception);
        return cause switch
        {
            OperationCanceledException => ("cancelled; nothing was written", ExitCode.Failed),
            UsageException => (OneLine(cause.Message), ExitCode.Usage),
            FileNotFoundException or DirectoryNotFoundException => (OneLine(cause.Message), ExitCode.Usage),
            OutOfMemoryException => ("out of memory", ExitCode.Failed),
            JsonException => ($"not valid JSON: {OneLine(cause.Message)}", ExitCode.Failed),
            _ when IsExpected(cause) => (OneLine(cause.Message), ExitCode.Failed),
            // By name: an error of the command line itself must not load ONNX Runtime.
            _ when cause.GetType().Name == "OnnxRuntimeException" => ($"ONNX Runtime: {OneLine(RuntimeErrorCode().Replace(cause.Message, ""))}", ExitCode.Failed),
            _ => ($"internal error: {cause.GetType().Name}: {OneLine(cause.Message)} (--debug shows where)", ExitCode.Failed),
        };
    }

    // Types whose message is written for the user: our own, and what the file system says.
    private static bool IsExpected(Exception exception) =>
        exception is IOException or UnauthorizedAccessException or InvalidDataException or NotSupportedException or DllNotFoundException ||
        exception.GetType().Namespace?.StartsWith("OrtQuant", StringComparison.Ordinal) == true;

    private static Exception Unwrap(Exception exception) => exception switch
    {
        AggregateException { InnerException: { } inner } => Unwrap(inner),
        TypeInitializationException { InnerException: { } inner } => Unwrap(inner),
        System.Reflection.TargetInvocationException { InnerException: { } inner } => Unwrap(inner),
        _ => exception,
    };

    private static string OneLine(string text) => LineBreaks().Replace(text.Trim(), " ");

    [GeneratedRegex(@"\s*[\r\n]+\s*")]
    private static partial Regex LineBreaks();

    [GeneratedRegex(@"^\[ErrorCode:\w+\]\s*")]
    private static partial Regex RuntimeErrorCode();
}
