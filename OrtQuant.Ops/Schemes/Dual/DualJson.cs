using System.Text.Json;
using System.Text.Json.Nodes;

namespace OrtQuant.Schemes.Dual;

/// <summary>JSON form of <see cref="DualParameters"/>: <c>{"bits": 4, "group_size": 128}</c>.</summary>
internal static class DualJson
{
    public static JsonObject ToJson(DualParameters parameters) => new()
    {
        ["bits"] = DualGeometry.Bits,
        ["group_size"] = parameters.GroupSize,
    };

    public static DualParameters Parse(JsonObject json)
    {
        var parameters = new DualParameters();
        foreach (var (key, value) in json)
        {
            switch (key)
            {
                case "bits" when Integer(key, value) is var bits and not DualGeometry.Bits:
                    throw new OrtQuantException($"bits is {bits}; scheme 'dual' has 4");
                case "bits":
                    break;
                case "group_size":
                    parameters = parameters with { GroupSize = Integer(key, value) };
                    break;
                case "zero_point":
                    throw new OrtQuantException($"zero_point is {value?.ToJsonString() ?? "null"}; every group of scheme 'dual' has an integer zero point, which cannot be chosen");
                default:
                    throw new OrtQuantException($"unknown member '{key}'; scheme 'dual' has bits, group_size");
            }
        }

        DualGeometry.Validate(parameters);
        return parameters;
    }

    private static int Integer(string key, JsonNode? value) =>
        value is JsonValue number && number.GetValueKind() == JsonValueKind.Number && number.TryGetValue(out int result)
            ? result
            : throw new OrtQuantException($"{key} is {value?.ToJsonString() ?? "null"}; it must be an integer");
}
