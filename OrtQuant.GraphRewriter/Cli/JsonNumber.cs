using System.Text.Json.Nodes;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>Numbers in JSON results.</summary>
internal static class JsonNumber
{
    /// <summary>A number, or <c>null</c> for what JSON cannot write: NaN and the infinities.</summary>
    /// <param name="value">The number.</param>
    /// <param name="decimals">Round to so many decimals; null keeps all.</param>
    public static JsonNode? Of(double? value, int? decimals = null) =>
        value is { } number && double.IsFinite(number) ? JsonValue.Create(decimals is { } digits ? Math.Round(number, digits) : number) : null;
}
