using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace OrtQuant.GraphRewriter.Planning;

/// <summary>Reads a JSON object member by member; every error says where, what is there and what is permitted.</summary>
/// <param name="json">The object.</param>
/// <param name="path">Where it stands in the document, for example <c>weights[3]</c>.</param>
internal sealed class JsonReader(JsonObject json, string path)
{
    private readonly HashSet<string> _known = [];

    internal string Path => path;

    internal string String(string name) => Value<string>(Required(name), name, "a string");

    internal string String(string name, string fallback) => Optional(name) is { } node ? Value<string>(node, name, "a string") : fallback;

    internal long Long(string name, long fallback)
    {
        if (Optional(name) is not { } node) return fallback;

        // A value made in memory remembers its C# type; its text is the same whatever that was.
        return node.GetValueKind() == JsonValueKind.Number && long.TryParse(node.ToJsonString(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value)
            ? value
            : throw Wrong(name, node, "an integer");
    }

    internal T Choice<T>(string name, T fallback, IReadOnlyDictionary<T, string> names)
        where T : struct, Enum
    {
        if (Optional(name) is not { } node) return fallback;
        var text = Value<string>(node, name, "a string");
        foreach (var (value, known) in names)
        {
            if (known == text) return value;
        }

        throw new PlanException($"{At(name)} is '{text}'; it must be one of {string.Join(", ", names.Values)}");
    }

    internal IReadOnlyList<string> Strings(string name) =>
        [.. Array(name).Select((node, i) => Value<string>(node ?? throw Wrong($"{name}[{i}]", null, "a string"), $"{name}[{i}]", "a string"))];

    internal IReadOnlyList<JsonReader> Objects(string name) =>
        [.. Array(name).Select((node, i) => node is JsonObject item
            ? new JsonReader(item, At($"{name}[{i}]"))
            : throw Wrong($"{name}[{i}]", node, "an object"))];

    internal IReadOnlyList<JsonReader> ObjectsOrNone(string name) => Optional(name) is null ? [] : Objects(name);

    internal JsonObject Object(string name) => Required(name) as JsonObject ?? throw Wrong(name, json[name], "an object");

    /// <summary>Says that every member was asked for.</summary>
    /// <exception cref="PlanException">One was not: it is unknown here.</exception>
    internal void Finish()
    {
        foreach (var (name, _) in json)
        {
            if (!_known.Contains(name))
            {
                throw new PlanException($"{At(name)} is not known; the members here are {string.Join(", ", _known.Order(StringComparer.Ordinal))}");
            }
        }
    }

    private JsonArray Array(string name) => Required(name) as JsonArray ?? throw Wrong(name, json[name], "a list");

    private JsonNode Required(string name) => Optional(name) ?? throw new PlanException($"{At(name)} is missing");

    private JsonNode? Optional(string name)
    {
        _known.Add(name);
        return json[name];
    }

    private T Value<T>(JsonNode node, string name, string permitted) =>
        node is JsonValue value && value.TryGetValue<T>(out var result) ? result : throw Wrong(name, node, permitted);

    private PlanException Wrong(string name, JsonNode? node, string permitted) =>
        new($"{At(name)} is {node?.GetValueKind() switch { null => "null", JsonValueKind.Object => "an object", JsonValueKind.Array => "a list", _ => node.ToJsonString() }}; it must be {permitted}");

    private string At(string name) => path.Length == 0 ? name : $"{path}.{name}";
}
