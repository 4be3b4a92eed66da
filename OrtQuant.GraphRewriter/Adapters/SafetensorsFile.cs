using System.Buffers.Binary;
using System.Text.Json;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Adapters;

/// <summary>
/// A safetensors file, mapped: eight bytes with the length of a JSON header, the header with type, shape and place of each tensor, then
/// the data. Nothing in it is trusted: every place is checked against the file before a tensor is made.
/// </summary>
internal sealed class SafetensorsFile : IDisposable
{
    // What the format's own reader permits.
    private const long LargestHeader = 100_000_000;
    private const int LengthBytes = 8;

    private static readonly Dictionary<string, ElementType> Types = new()
    {
        ["F16"] = ElementType.Float16,
        ["BF16"] = ElementType.BFloat16,
        ["F32"] = ElementType.Float32,
        ["F64"] = ElementType.Float64,
        ["I8"] = ElementType.Int8,
        ["U8"] = ElementType.UInt8,
        ["I16"] = ElementType.Int16,
        ["I32"] = ElementType.Int32,
        ["I64"] = ElementType.Int64,
        ["BOOL"] = ElementType.Bool,
    };

    private readonly MappedFile _file;
    private readonly Dictionary<string, LazyTensor> _tensors = [];

    /// <summary>Reads the header.</summary>
    /// <exception cref="AdapterException">The file is no valid safetensors file.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    internal SafetensorsFile(string path)
    {
        _file = new MappedFile(path);
        try
        {
            ReadHeader();
        }
        catch (Exception exception)
        {
            _file.Dispose();
            if (exception is JsonException or InvalidOperationException or FormatException or KeyNotFoundException) throw Bad($"its header is no valid JSON of tensors: {exception.Message}", exception);
            throw;
        }
    }

    /// <summary>The tensors by name; read when they are asked for, while the file is open.</summary>
    internal IReadOnlyDictionary<string, LazyTensor> Tensors => _tensors;

    public void Dispose() => _file.Dispose();

    private void ReadHeader()
    {
        if (_file.Length < LengthBytes) throw Bad($"it has {_file.Length} bytes; a safetensors file has at least {LengthBytes}");
        var length = BinaryPrimitives.ReadUInt64LittleEndian(_file.Span(0, LengthBytes));
        var largest = Math.Min(LargestHeader, _file.Length - LengthBytes);
        if (length > (ulong)largest) throw Bad($"its header is said to have {length} bytes; it can have {largest} at most");

        var dataAt = LengthBytes + (long)length;
        using var header = JsonDocument.Parse(_file.Span(LengthBytes, (int)length).ToArray());
        if (header.RootElement.ValueKind != JsonValueKind.Object) throw Bad("its header is no JSON object");
        foreach (var entry in header.RootElement.EnumerateObject().Where(entry => entry.Name != "__metadata__"))
        {
            if (!_tensors.TryAdd(entry.Name, Tensor(entry.Name, entry.Value, dataAt))) throw Bad($"it has two tensors '{entry.Name}'");
        }
    }

    private FileTensor Tensor(string name, JsonElement entry, long dataAt)
    {
        var dtype = entry.GetProperty("dtype").GetString() ?? "";
        if (!Types.TryGetValue(dtype, out var type)) throw Bad($"tensor '{name}' has dtype '{dtype}'; permitted: {string.Join(", ", Types.Keys)}");
        long[] shape = [.. entry.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64())];
        if (entry.GetProperty("data_offsets").EnumerateArray().Select(offset => offset.GetInt64()).ToList() is not [var begin, var end])
        {
            throw Bad($"tensor '{name}' has data_offsets that are not two numbers");
        }

        var available = _file.Length - dataAt;
        if (begin < 0 || end < begin || end > available) throw Bad($"tensor '{name}' lies at bytes {begin} to {end} of the data, which has {available}");
        long expected;
        try
        {
            expected = TensorSize.Bytes(type, shape, $"tensor '{name}'");
        }
        catch (ModelFormatException exception)
        {
            throw Bad(exception.Message, exception);
        }

        return end - begin == expected
            ? new FileTensor(type, shape, _file, dataAt + begin, expected)
            : throw Bad($"tensor '{name}' of {dtype} [{string.Join(", ", shape)}] has {end - begin} bytes; it must have {expected}");
    }

    private AdapterException Bad(string what, Exception? inner = null)
    {
        var message = $"{Path.GetFileName(_file.Path)}: {what}";
        return inner is null ? new AdapterException(message) : new AdapterException(message, inner);
    }
}
