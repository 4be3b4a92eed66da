using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Smooth;

/// <summary>
/// JSON form of <see cref="SmoothParameters"/>:
/// <c>{"bits": 4, "group_size": 32, "smooth_size": 32, "activation_bits": 4, "smooth_scope": "token", "scale_type": "float16"}</c>.
/// </summary>
internal static class SmoothJson
{
    // What rows of one scale are smoothed in where nothing is said of it: the paper's groups.
    private const int SmoothSizeOfWholeRows = 128;

    public static JsonObject ToJson(SmoothParameters parameters) => new()
    {
        ["bits"] = SmoothGeometry.Bits,
        ["group_size"] = parameters.GroupSize,
        ["smooth_size"] = parameters.SmoothSize,
        ["activation_bits"] = parameters.ActivationBits,
        ["smooth_scope"] = Name(parameters.Scope),
        ["scale_type"] = parameters.ScaleType == ElementType.Float16 ? "float16" : "float32",
    };

    public static SmoothParameters Parse(JsonObject json)
    {
        var parameters = new SmoothParameters();
        int? smoothSize = null;
        foreach (var (key, value) in json)
        {
            switch (key)
            {
                case "bits" when Integer(key, value) is var bits and not SmoothGeometry.Bits:
                    throw new OrtQuantException($"bits is {bits}; scheme 'smooth' has 4");
                case "bits":
                    break;
                case "group_size":
                    parameters = parameters with { GroupSize = Integer(key, value) };
                    break;
                case "smooth_size":
                    smoothSize = Integer(key, value);
                    break;
                case "activation_bits":
                    parameters = parameters with { ActivationBits = Integer(key, value) };
                    break;
                case "smooth_scope":
                    parameters = parameters with { Scope = OneOf(key, value, Enum.GetValues<SmoothScope>(), Name) };
                    break;
                case "scale_type":
                    parameters = parameters with { ScaleType = OneOf(key, value, [ElementType.Float16, ElementType.Float32], type => type == ElementType.Float16 ? "float16" : "float32") };
                    break;
                case "zero_point" when Text(value) == "none":
                    break;
                case "zero_point":
                    throw new OrtQuantException($"zero_point is {value?.ToJsonString() ?? "null"}; scheme 'smooth' has none");
                default:
                    throw new OrtQuantException($"unknown member '{key}'; scheme 'smooth' has bits, group_size, smooth_size, activation_bits, smooth_scope, scale_type");
            }
        }

        // Groups of weights and of activations are the same where only one is given.
        parameters = parameters with { SmoothSize = smoothSize ?? (parameters.GroupSize == SmoothParameters.WholeRow ? SmoothSizeOfWholeRows : parameters.GroupSize) };
        SmoothGeometry.Validate(parameters);
        return parameters;
    }

    /// <summary>The word of a scope, in JSON, in the attribute and on the command line.</summary>
    public static string Name(SmoothScope scope) => scope switch
    {
        SmoothScope.None => "none",
        SmoothScope.Token => "token",
        _ => "call",
    };

    private static int Integer(string key, JsonNode? value) =>
        value is JsonValue number && number.GetValueKind() == JsonValueKind.Number && number.TryGetValue(out int result)
            ? result
            : throw new OrtQuantException($"{key} is {value?.ToJsonString() ?? "null"}; it must be an integer");

    private static string? Text(JsonNode? value) => value is JsonValue text && text.GetValueKind() == JsonValueKind.String ? text.GetValue<string>() : null;

    private static T OneOf<T>(string key, JsonNode? value, IReadOnlyList<T> permitted, Func<T, string> name)
    {
        foreach (var candidate in permitted)
        {
            if (Text(value) == name(candidate)) return candidate;
        }

        throw new OrtQuantException($"{key} is {value?.ToJsonString() ?? "null"}; it must be one of {string.Join(", ", permitted.Select(name))}");
    }
}
