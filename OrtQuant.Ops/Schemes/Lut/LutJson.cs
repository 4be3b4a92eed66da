using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Lut;

/// <summary>JSON form of <see cref="LutParameters"/>: <c>{"bits": 3, "group_size": 64, "levels": "free", "scale_type": "float16"}</c>; uniform levels also have <c>zero_point</c>.</summary>
internal static class LutJson
{
    public static JsonObject ToJson(LutParameters parameters)
    {
        var json = new JsonObject { ["bits"] = parameters.Bits, ["group_size"] = parameters.GroupSize, ["levels"] = LutScheme.NameOf(parameters.Levels) };
        if (parameters.Levels == LutLevels.Uniform) json["zero_point"] = parameters.IntegerZeroPoints ? "integer" : "float";
        json["scale_type"] = Name(parameters.ScaleType);
        return json;
    }

    public static LutParameters Parse(JsonObject json)
    {
        var parameters = new LutParameters();
        var namesZeroPoint = false;
        foreach (var (key, value) in json)
        {
            switch (key)
            {
                case "bits":
                    parameters = parameters with { Bits = Integer(key, value) };
                    break;
                case "group_size":
                    parameters = parameters with { GroupSize = Integer(key, value) };
                    break;
                case "levels":
                    parameters = parameters with { Levels = OneOf(key, value, [LutLevels.Free, LutLevels.Uniform], LutScheme.NameOf) };
                    break;
                case "zero_point":
                    namesZeroPoint = true;
                    parameters = parameters with { IntegerZeroPoints = OneOf(key, value, [true, false], isInteger => isInteger ? "integer" : "float") };
                    break;
                case "scale_type":
                    parameters = parameters with { ScaleType = OneOf(key, value, [ElementType.Float16, ElementType.Float32], Name) };
                    break;
                default:
                    throw new OrtQuantException($"unknown member '{key}'; scheme 'lut' has bits, group_size, levels, zero_point, scale_type");
            }
        }

        if (namesZeroPoint && parameters.Levels == LutLevels.Free)
        {
            throw new OrtQuantException("zero_point is given; it goes with levels uniform only: free levels have an offset in every group");
        }

        LutGeometry.Validate(parameters);
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
            if (value is JsonValue text && text.GetValueKind() == JsonValueKind.String && text.GetValue<string>() == name(candidate)) return candidate;
        }

        throw new OrtQuantException($"{key} is {value?.ToJsonString() ?? "null"}; it must be one of {string.Join(", ", permitted.Select(name))}");
    }

    private static string Name(ElementType type) => type == ElementType.Float16 ? "float16" : "float32";
}
