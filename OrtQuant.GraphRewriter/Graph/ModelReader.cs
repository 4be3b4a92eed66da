using System.Globalization;
using Google.Protobuf;
using Onnx;
using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>Reads .onnx files from anywhere: nothing that a file says is believed before it is checked.</summary>
internal sealed class ModelReader : IDisposable
{
    private readonly MappedFile _model;
    private readonly Dictionary<string, MappedFile> _files = [];
    private readonly TensorTable _tensors = new();

    private ModelReader(string path)
    {
        _model = new MappedFile(path);
    }

    internal static OnnxModel Read(string path)
    {
        var reader = new ModelReader(path);
        try
        {
            return reader.Read();
        }
        catch (ModelFormatException error)
        {
            reader.Dispose();
            throw new ModelFormatException($"{path}: {error.Message}", error);
        }
        catch
        {
            reader.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        _model.Dispose();
        foreach (var file in _files.Values) file.Dispose();
    }

    private OnnxModel Read()
    {
        if (_model.Length == 0) throw new ModelFormatException("the file is empty");
        if (_model.Length > int.MaxValue)
        {
            throw new ModelFormatException($"the file has {_model.Length} bytes; protobuf allows {int.MaxValue}, more than that goes into external data");
        }

        var proto = Parse(WireStripper.Strip(_model.Span(0, (int)_model.Length)));
        foreach (var tensor in ProtoWalk.Tensors(proto)) Resolve(tensor);
        return new OnnxModel(proto, _model.Path, _tensors, [_model, .. _files.Values]);
    }

    private static ModelProto Parse(byte[] bytes)
    {
        try
        {
            return ModelProto.Parser.ParseFrom(bytes);
        }
        catch (InvalidProtocolBufferException error)
        {
            throw new ModelFormatException("not an ONNX model, or damaged: " + error.Message, error);
        }
    }

    private void Resolve(TensorProto tensor)
    {
        if (tensor.DataLocation != TensorProto.Types.DataLocation.External)
        {
            // Small data stays where it is, but its size is checked now.
            if (tensor.DataType != (int)ElementType.String) InlineData.Read(tensor);
            return;
        }

        var type = (ElementType)tensor.DataType;
        var what = $"tensor '{tensor.Name}'";
        var expected = TensorSize.Bytes(type, tensor.Dims, what);
        var location = Entry(tensor, "location") ?? throw new ModelFormatException($"{what} is external and names no file");
        var file = location == WireStripper.ModelFile ? _model : Open(ExternalPath.Resolve(_model.Path, location, tensor.Name));
        var shown = location == WireStripper.ModelFile ? "the model file" : $"'{location}'";
        var offset = Number(tensor, "offset") ?? 0;
        var length = Number(tensor, "length") ?? expected;
        if (length != expected)
        {
            throw new ModelFormatException($"{what} of {type} [{string.Join(", ", tensor.Dims)}] has {length} bytes in {shown}; it must have {expected}");
        }

        if (offset > file.Length || length > file.Length - offset)
        {
            throw new ModelFormatException($"{what} is at bytes {offset} to {(UInt128)offset + (UInt128)length} of {shown}, which has {file.Length}");
        }

        _tensors.Refer(tensor, new FileTensor(type, [.. tensor.Dims], file, offset, length));
    }

    private MappedFile Open(string path)
    {
        if (!_files.TryGetValue(path, out var file)) _files[path] = file = new MappedFile(path);
        return file;
    }

    private static string? Entry(TensorProto tensor, string key) => tensor.ExternalData.FirstOrDefault(entry => entry.Key == key)?.Value;

    private static long? Number(TensorProto tensor, string key)
    {
        if (Entry(tensor, key) is not { } text) return null;
        return long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value)
            ? value
            : throw new ModelFormatException($"tensor '{tensor.Name}' has {key} '{text}'; it must be a whole number, 0 or more");
    }
}
