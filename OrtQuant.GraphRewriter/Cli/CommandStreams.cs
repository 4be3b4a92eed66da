using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>The two output streams and their rules: results on one, everything else on the other, errors as one line.</summary>
/// <param name="Output">Standard output.</param>
/// <param name="Error">Standard error.</param>
/// <param name="Json">Results are one JSON object.</param>
/// <param name="Debug">Errors carry their stack.</param>
internal sealed record CommandStreams(TextWriter Output, TextWriter Error, bool Json, bool Debug)
{
    private static readonly JsonSerializerOptions Indented = new()
    {
        WriteIndented = true,
        // Tensor names and texts stay readable; the output is not embedded in HTML.
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>Writes a JSON object and a line end to <see cref="Output"/>.</summary>
    public void WriteJson(JsonObject value) => Output.WriteLine(value.ToJsonString(Indented));

    /// <summary>Reports a failure in one line (and as <c>{"error": ...}</c> under <c>--json</c>).</summary>
    /// <returns>The exit code that belongs to the exception.</returns>
    public int Fail(Exception exception)
    {
        var (message, code) = ErrorMessage.Describe(exception);
        Error.WriteLine($"error: {message}");
        if (Debug)
        {
            Error.WriteLine(exception);
        }

        if (Json)
        {
            WriteJson(new JsonObject { ["error"] = message });
        }

        return code;
    }
}
