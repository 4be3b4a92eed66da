using System.Globalization;
using System.Text.Json.Nodes;
using OrtQuant.Schemes;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Schemes;

/// <summary>
/// A golden example: a fence <c>golden NAME</c> of a scheme's SPEC.md, or a file of its <c>golden</c> folder. Lines are <c>key: tokens</c>; a
/// line that begins with a space continues the one before; the keys before <c>shape</c> are the scheme's parameters.
/// </summary>
public sealed class GoldenExample
{
    private readonly Dictionary<string, string[]> _fields = [];

    private GoldenExample(string source, IWeightScheme scheme, IEnumerable<string> lines)
    {
        Source = source;
        Scheme = scheme;
        var parameters = new JsonObject();
        string? key = null;
        foreach (var line in lines.Where(line => line.Length > 0 && line[0] != '#'))
        {
            var tokens = line;
            if (line[0] != ' ')
            {
                key = line[..line.IndexOf(':', StringComparison.Ordinal)];
                tokens = line[(key.Length + 1)..];
            }

            var values = tokens.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            _fields[key!] = _fields.TryGetValue(key!, out var before) ? [.. before, .. values] : values;
            if (!_fields.ContainsKey("shape"))
            {
                parameters[key!] = int.TryParse(values[0], CultureInfo.InvariantCulture, out var number) ? number
                    : double.TryParse(values[0], CultureInfo.InvariantCulture, out var real) ? real : values[0];
            }
        }

        Parameters = scheme.Parse(parameters);
        Shape = new WeightShape(long.Parse(_fields["shape"][0], CultureInfo.InvariantCulture), long.Parse(_fields["shape"][1], CultureInfo.InvariantCulture));
    }

    /// <summary>Where it stands, for messages.</summary>
    public string Source { get; }

    public IWeightScheme Scheme { get; }

    public SchemeParameters Parameters { get; }

    public WeightShape Shape { get; }

    public bool Has(string key) => _fields.ContainsKey(key);

    public float[] Floats(string key) => [.. _fields[key].Select(token => float.Parse(token, CultureInfo.InvariantCulture))];

    public byte[] Codes => [.. _fields["codes"].Select(token => byte.Parse(token, CultureInfo.InvariantCulture))];

    /// <summary>The stored bytes of each tensor of the scheme: under its name, or its name and <c>_bytes</c> where that is the name of something else.</summary>
    public IReadOnlyList<byte[]> Tensors =>
        [.. Scheme.Tensors(Shape, Parameters).Select(spec => Bytes(Has($"{spec.Input}_bytes") ? $"{spec.Input}_bytes" : spec.Input))];

    public override string ToString() => Source;

    /// <summary>Every example of every scheme in the catalog.</summary>
    public static IReadOnlyList<GoldenExample> All { get; } = [.. SchemeCatalog.All.SelectMany(Of)];

    /// <summary>The examples of one scheme.</summary>
    public static IEnumerable<GoldenExample> Of(IWeightScheme scheme)
    {
        var folder = FolderOf(scheme);
        var specification = Path.Combine(folder, "SPEC.md");
        var fences = 0;
        List<string>? fence = null;
        foreach (var line in File.ReadLines(specification))
        {
            if (fence is null && line == $"```golden {scheme.Name}")
            {
                fence = [];
            }
            else if (fence is not null && line == "```")
            {
                yield return new GoldenExample($"{scheme.Name}/SPEC.md, example {++fences}", scheme, fence);
                fence = null;
            }
            else
            {
                fence?.Add(line);
            }
        }

        foreach (var path in Directory.EnumerateFiles(Path.Combine(folder, "golden"), "*.golden").Order(StringComparer.Ordinal))
        {
            yield return new GoldenExample($"{scheme.Name}/golden/{Path.GetFileName(path)}", scheme, File.ReadLines(path));
        }
    }

    /// <summary>The folder <c>OrtQuant.Ops/Schemes/&lt;Name&gt;</c>.</summary>
    public static string FolderOf(IWeightScheme scheme) =>
        Path.Combine(TestFiles.Root, "OrtQuant.Ops", "Schemes", char.ToUpperInvariant(scheme.Name[0]) + scheme.Name[1..]);

    private byte[] Bytes(string key)
    {
        var bytes = new List<byte>();
        foreach (var token in _fields[key])
        {
            var run = token.Split('*');
            var value = byte.Parse(run[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            bytes.AddRange(Enumerable.Repeat(value, run.Length > 1 ? int.Parse(run[1], CultureInfo.InvariantCulture) : 1));
        }

        return [.. bytes];
    }
}
