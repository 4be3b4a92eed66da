using System.Text.Json;
using System.Text.Json.Nodes;

namespace OrtQuant.Schemes.Mixed;

/// <summary>JSON form of <see cref="MixedParameters"/>: <c>{"bits": 2.91, "group_size": 32, "outliers": 1}</c>.</summary>
internal static class MixedJson
{
    public static JsonObject ToJson(MixedParameters parameters) => new()
    {
        ["bits"] = parameters.Bits,
        ["group_size"] = parameters.GroupSize,
        ["outliers"] = parameters.Outliers,
    };

    public static MixedParameters Parse(JsonObject json)
    {
        var parameters = new MixedParameters();
        foreach (var (key, value) in json)
        {
            parameters = key switch
            {
                "bits" => parameters with { Bits = Number(key, value) },
                "group_size" => parameters with { GroupSize = Integer(key, value) },
                "outliers" => parameters with { Outliers = Integer(key, value) },
                "zero_point" => throw new OrtQuantException(
                    $"zero_point is {value?.ToJsonString() ?? "null"}; every group of scheme 'mixed' has a zero point of 4 bits, which cannot be chosen"),
                _ => throw new OrtQuantException($"unknown member '{key}'; scheme 'mixed' has bits, group_size, outliers"),
            };
        }

        MixedGeometry.Validate(parameters);
        return parameters;
    }

    private static int Integer(string key, JsonNode? value) =>
        value is JsonValue number && number.GetValueKind() == JsonValueKind.Number && number.TryGetValue(out int result)
            ? result
            : throw new OrtQuantException($"{key} is {value?.ToJsonString() ?? "null"}; it must be an integer");

    private static double Number(string key, JsonNode? value) =>
        value is JsonValue number && number.GetValueKind() == JsonValueKind.Number
            ? number.TryGetValue(out double result) ? result : number.GetValue<int>()
            : throw new OrtQuantException($"{key} is {value?.ToJsonString() ?? "null"}; it must be a number");
}
