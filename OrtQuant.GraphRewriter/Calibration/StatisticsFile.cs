using System.Buffers.Binary;
using System.Globalization;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Quantizers;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Calibration;

/// <summary>
/// Statistics of the inputs of weights in one file, to be used by several rewrites of a model. The file is in the safetensors format (8 bytes
/// with the length of a JSON header, the header, the data): for each weight the float32 tensors <c>NAME.second_moments</c>, <c>NAME.mean_abs</c> and
/// <c>NAME.abs_max</c> of shape <c>[K]</c>; in <c>__metadata__</c> the <c>format</c> <c>ortquant-statistics</c>, its <c>version</c>, the <c>source</c> of the
/// tokens and their number.
/// </summary>
public sealed class StatisticsFile
{
    private const string Format = "ortquant-statistics";
    private const string Version = "1";
    private const string SecondMoments = ".second_moments";
    private const string MeanAbs = ".mean_abs";
    private const string AbsMax = ".abs_max";
    private readonly Dictionary<string, ActivationStatistics> _statistics;
    private readonly string _source;

    private StatisticsFile(string path, string source, long tokens, Dictionary<string, ActivationStatistics> statistics) =>
        (Path, _source, Tokens, _statistics) = (path, source, tokens, statistics);

    /// <summary>Where it was read from.</summary>
    public string Path { get; }

    /// <summary>Tokens that the statistics are of.</summary>
    public long Tokens { get; }

    /// <summary>What it holds of each weight.</summary>
    public StatisticsLevel Level => StatisticsLevel.Moments;

    /// <summary>Names of the weights.</summary>
    public IReadOnlyCollection<string> Weights => _statistics.Keys;

    internal string Description => $"{Path} ({_source})";

    /// <summary>Reads a file.</summary>
    /// <exception cref="RunningException">It is no such file, or damaged; the message says how.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static StatisticsFile Read(string path)
    {
        try
        {
            var bytes = File.ReadAllBytes(path);
            var (header, data) = Split(bytes);
            var metadata = header["__metadata__"] as JsonObject ?? throw new RunningException("it has no metadata");
            Require(metadata, "format", Format);
            Require(metadata, "version", Version);
            if (!long.TryParse(Text(metadata, "tokens"), NumberStyles.None, CultureInfo.InvariantCulture, out var tokens))
            {
                throw new RunningException($"'tokens' is '{Text(metadata, "tokens")}'; it must be a number");
            }

            var tensors = header.Where(entry => entry.Key != "__metadata__").ToDictionary(entry => entry.Key, entry => Tensor(entry.Key, entry.Value, data));
            var names = tensors.Keys.Where(name => name.EndsWith(SecondMoments, StringComparison.Ordinal)).Select(name => name[..^SecondMoments.Length]);
            var statistics = names.ToDictionary(name => name, name => new ActivationStatistics
            {
                Tokens = tokens,
                SecondMoments = Of(name + SecondMoments, tensors),
                MeanAbs = Of(name + MeanAbs, tensors, name + SecondMoments),
                AbsMax = Of(name + AbsMax, tensors, name + SecondMoments),
            });
            if (statistics.Count * 3 != tensors.Count) throw new RunningException($"it has {tensors.Count} tensors, which are not three for each of {statistics.Count} weights");
            return new StatisticsFile(path, Text(metadata, "source"), tokens, statistics);
        }
        catch (Exception exception) when (exception is RunningException or JsonException or InvalidOperationException or FormatException or OverflowException or ArgumentException)
        {
            throw new RunningException($"{path} holds no statistics: {exception.Message}", exception);
        }
    }

    /// <summary>The statistics of a weight; null where there are none.</summary>
    /// <param name="weight">Name of the weight.</param>
    /// <param name="k">Its K.</param>
    /// <exception cref="RunningException">They are of another K.</exception>
    public ActivationStatistics? Find(string weight, long k)
    {
        if (!_statistics.TryGetValue(weight, out var found)) return null;
        return found.SecondMoments.Length == k
            ? found
            : throw new RunningException($"{Path} has statistics of {found.SecondMoments.Length} inputs of weight '{weight}', which has {k}: they are of another model");
    }

    /// <summary>Writes a file, whole or not at all.</summary>
    internal static void Save(string path, IReadOnlyList<(CalibratedInput Input, ActivationStatistics Statistics)> gathered, string source, long tokens)
    {
        var header = new JsonObject
        {
            ["__metadata__"] = new JsonObject
            {
                ["format"] = Format,
                ["version"] = Version,
                ["source"] = source,
                ["tokens"] = tokens.ToString(CultureInfo.InvariantCulture),
            },
        };
        using var data = new MemoryStream();
        foreach (var (input, statistics) in gathered)
        {
            foreach (var name in input.Weights.SelectMany(weight => weight.Weight.Parts).Select(part => part.Name))
            {
                Add(name + SecondMoments, statistics.SecondMoments);
                Add(name + MeanAbs, statistics.MeanAbs);
                Add(name + AbsMax, statistics.AbsMax);
            }
        }

        // Data begins at a multiple of 8, as the format recommends.
        var json = Encoding.UTF8.GetBytes(header.ToJsonString());
        var padded = (json.Length + 7) / 8 * 8;
        var bytes = new byte[8 + padded + data.Length];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, padded);
        bytes.AsSpan(8, padded).Fill((byte)' ');
        json.CopyTo(bytes, 8);
        data.GetBuffer().AsSpan(0, (int)data.Length).CopyTo(bytes.AsSpan(8 + padded));
        var full = System.IO.Path.GetFullPath(path);
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(full)!);
        OutputFile.Write(full, bytes);

        void Add(string name, ReadOnlyMemory<float> values)
        {
            if (header.ContainsKey(name)) return;
            var start = data.Length;
            data.Write(MemoryMarshal.AsBytes(values.Span));
            header[name] = new JsonObject { ["dtype"] = "F32", ["shape"] = new JsonArray(values.Length), ["data_offsets"] = new JsonArray(start, data.Length) };
        }
    }

    private static (JsonObject Header, ReadOnlyMemory<byte> Data) Split(byte[] bytes)
    {
        if (bytes.Length < 8) throw new RunningException($"it has {bytes.Length} bytes");
        var length = BinaryPrimitives.ReadInt64LittleEndian(bytes);
        if (length < 2 || length > bytes.Length - 8) throw new RunningException($"its header has {length} bytes and the file {bytes.Length}");
        var header = JsonNode.Parse(bytes.AsSpan(8, (int)length)) as JsonObject ?? throw new RunningException("its header is no JSON object");
        return (header, bytes.AsMemory(8 + (int)length));
    }

    private static float[] Tensor(string name, JsonNode? entry, ReadOnlyMemory<byte> data)
    {
        if (entry?["dtype"]?.GetValue<string>() is not "F32" || entry["shape"] is not JsonArray { Count: 1 } shape || entry["data_offsets"] is not JsonArray { Count: 2 } offsets)
        {
            throw new RunningException($"'{name}' is no float32 vector");
        }

        var (count, start, end) = (shape[0]!.GetValue<long>(), offsets[0]!.GetValue<long>(), offsets[1]!.GetValue<long>());
        if (count < 1 || start < 0 || end > data.Length || end - start != count * sizeof(float))
        {
            throw new RunningException($"'{name}' has {count} values in bytes {start} to {end} of {data.Length}");
        }

        var values = MemoryMarshal.Cast<byte, float>(data.Span[(int)start..(int)end]).ToArray();
        var bad = Array.FindIndex(values, value => !(value >= 0) || float.IsInfinity(value));
        return bad < 0 ? values : throw new RunningException($"'{name}' has {values[bad]} at place {bad}; it must be finite and not negative");
    }

    private static float[] Of(string name, Dictionary<string, float[]> tensors, string? like = null)
    {
        if (!tensors.TryGetValue(name, out var values)) throw new RunningException($"'{name}' is missing");
        return like is null || tensors[like].Length == values.Length
            ? values
            : throw new RunningException($"'{name}' has {values.Length} values and '{like}' {tensors[like].Length}");
    }

    private static string Text(JsonObject metadata, string name) => metadata[name]?.GetValue<string>() ?? throw new RunningException($"'{name}' is missing");

    private static void Require(JsonObject metadata, string name, string value)
    {
        if (Text(metadata, name) is var actual && actual != value) throw new RunningException($"its {name} is '{actual}'; it must be '{value}'");
    }
}
