using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Group;

/// <summary>JSON form of <see cref="GroupParameters"/>: <c>{"bits": 4, "group_size": 32, "zero_point": "integer", "scale_type": "float16"}</c>.</summary>
internal static class GroupJson
{
    public static JsonObject ToJson(GroupParameters parameters) => new()
    {
        ["bits"] = parameters.Bits,
        ["group_size"] = parameters.GroupSize,
        ["zero_point"] = Name(parameters.ZeroPoint),
        ["scale_type"] = Name(parameters.ScaleType),
    };

    public static GroupParameters Parse(JsonObject json)
    {
        var parameters = new GroupParameters();
        foreach (var (key, value) in json)
        {
            parameters = key switch
            {
                "bits" => parameters with { Bits = Integer(key, value) },
                "group_size" => parameters with { GroupSize = Integer(key, value) },
                "zero_point" => parameters with { ZeroPoint = OneOf(key, value, Enum.GetValues<ZeroPointKind>(), Name) },
                "scale_type" => parameters with { ScaleType = OneOf(key, value, [ElementType.Float16, ElementType.Float32], Name) },
                _ => throw new OrtQuantException($"unknown member '{key}'; scheme 'group' has bits, group_size, zero_point, scale_type"),
            };
        }

        GroupGeometry.Validate(parameters);
        return parameters;
    }

    private static int Integer(string key, JsonNode? value) =>
        value is JsonValue number && number.GetValueKind() == JsonValueKind.Number && number.TryGetValue(out int result)
            ? result
            : throw new OrtQuantException($"{key} is {value?.ToJsonString() ?? "null"}; it must be an integer");

    private static T OneOf<T>(string key, JsonNode? value, IReadOnlyList<T> permitted, Func<T, string> name)
    {
        foreach (var candidate in permitted)
        {
            if (value is JsonValue text && text.GetValueKind() == JsonValueKind.String && text.GetValue<string>() == name(candidate))
            {
                return candidate;
            }
        }

        throw new OrtQuantException($"{key} is {value?.ToJsonString() ?? "null"}; it must be one of {string.Join(", ", permitted.Select(name))}");
    }

    private static string Name(ZeroPointKind kind) => kind switch
    {
        ZeroPointKind.None => "none",
        ZeroPointKind.Integer => "integer",
        _ => "float",
    };

    private static string Name(ElementType type) => type == ElementType.Float16 ? "float16" : "float32";
}
