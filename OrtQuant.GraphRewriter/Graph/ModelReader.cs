using Google.Protobuf;
using Onnx;
using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>Reads model files. A model is untrusted input: every size, type and path is checked before anything relies on it.</summary>
internal static class ModelReader
{
<<<<<<< Updated upstream
    private readonly MappedFile _model;
    private readonly Dictionary<string, MappedFile> _files = [];
    private readonly TensorTable _tensors = new();

    private ModelReader(string path)
    {
        _model = new MappedFile(path);
=======
    /// <summary>Reads the messages of a model; data of its tensors go into the store, mapped.</summary>
    /// <exception cref="ModelFormatException">The file is no ONNX model or a malformed one.</exception>
    public static ModelProto Read(string path, TensorStore tensors)
    {
        if (!File.Exists(path)) throw new FileNotFoundException($"no such file: {path}", path);
        if (new FileInfo(path).Length == 0) throw new ModelFormatException($"'{path}' is empty; it must be an ONNX model");
        var file = tensors.Add(MappedFile.Open(path));
        var slim = ModelSlimmer.Run(file);
        var model = Parse(slim, path);
        if (model.Graph is null) throw new ModelFormatException($"'{path}' is no ONNX model: it has no graph");
        var external = new ExternalData(path, tensors);
        TensorVisitor.Visit(model, tensor => Admit(tensor, slim, file, external, tensors));
        return model;
>>>>>>> Stashed changes
    }

    /// <summary>Checks the tensors of a model in memory, which has no external data.</summary>
    /// <exception cref="ModelFormatException">A tensor is malformed, or has external data.</exception>
    public static void Check(ModelProto model) => TensorVisitor.Visit(model, tensor =>
    {
        if (tensor.DataLocation == TensorProto.Types.DataLocation.External)
        {
            throw new ModelFormatException($"tensor '{tensor.Name}' has external data; a model in memory must have none");
        }

<<<<<<< Updated upstream
        var proto = Parse(WireStripper.Strip(_model.Span(0, (int)_model.Length)));
        foreach (var tensor in ProtoWalk.Tensors(proto)) Resolve(tensor);
        return new OnnxModel(proto, _model.Path, _tensors, [_model, .. _files.Values]);
    }

    private static ModelProto Parse(byte[] bytes)
=======
        CheckInline(tensor);
    });

    private static ModelProto Parse(ModelSlimmer slim, string path)
>>>>>>> Stashed changes
    {
        try
        {
            return ModelProto.Parser.ParseFrom(slim.Bytes);
        }
        catch (InvalidProtocolBufferException exception)
        {
            throw new ModelFormatException($"'{path}' is no ONNX model, or a damaged one: {exception.Message}", exception);
        }
    }

    private static void Admit(TensorProto tensor, ModelSlimmer slim, MappedFile file, ExternalData external, TensorStore tensors)
    {
        var span = slim.TakeSpan(tensor);
        if (tensor.DataLocation == TensorProto.Types.DataLocation.External)
        {
            if (span is not null || tensor.HasRawData)
            {
                throw new ModelFormatException($"tensor '{tensor.Name}' has raw data and external data; it must have one of them");
            }

<<<<<<< Updated upstream
        var type = (ElementType)tensor.DataType;
        var what = $"tensor '{tensor.Name}'";
        var expected = TensorSize.Bytes(type, tensor.Dims, what);
        var location = Entry(tensor, "location") ?? throw new ModelFormatException($"{what} is external and names no file");
        var file = location == WireStripper.ModelFile ? _model : Open(ExternalPath.Resolve(_model.Path, location, tensor.Name));
        var shown = location == WireStripper.ModelFile ? "the model file" : $"'{location}'";
        var offset = Number(tensor, "offset") ?? 0;
        var length = Number(tensor, "length") ?? expected;
        if (length != expected)
=======
            tensors.Refer(tensor, external.Open(tensor));
        }
        else if (span is { } raw)
>>>>>>> Stashed changes
        {
            var (type, needed) = TensorCheck.Geometry(tensor);
            if (raw.Length != needed || type == ElementType.String)
            {
                throw new ModelFormatException(
                    $"tensor '{tensor.Name}' has {raw.Length} bytes of raw data; its type {type} and dimensions [{string.Join(", ", tensor.Dims)}] need {needed}");
            }

            tensors.Refer(tensor, new MappedTensor(file, raw.Offset, type, [.. tensor.Dims], needed));
        }
        else
        {
            tensor.ExternalData.Clear();
            CheckInline(tensor);
        }
    }

    private static void CheckInline(TensorProto tensor)
    {
        if (TensorCheck.Geometry(tensor).Type != ElementType.String) InlineTensor.Read(tensor);
    }
}
