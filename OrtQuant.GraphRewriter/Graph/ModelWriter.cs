using Google.Protobuf;
using Onnx;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>
/// Saves a model whole or not at all. Data is written first, tensor by tensor, into a file that is named after its content; the graph
/// that names it is renamed into place last. Whoever opens the model meanwhile finds the old one.
/// </summary>
public static class ModelWriter
{
    // Below this a separate data file is more trouble than the copy of it that a session makes when it loads.
    private const long LargestInline = 16 << 20;

    /// <summary>Saves a model.</summary>
    /// <param name="model">The model; it is not changed.</param>
    /// <param name="path">The .onnx file to write; an external data file goes beside it.</param>
    /// <param name="options">Options.</param>
    /// <returns>What was written.</returns>
    /// <exception cref="IOException">The disk is full, a file cannot be written, or the output is a file of the model itself.</exception>
    public static SavedModel Save(OnnxModel model, string path, SaveOptions? options = null)
    {
        options ??= new SaveOptions();
        path = Path.GetFullPath(path);
        CheckTarget(model, path);
        var folder = Path.GetDirectoryName(path)!;
        Directory.CreateDirectory(folder);
        OutputFile.RemoveStale(folder);

        var proto = model.Proto.Clone();
        var layout = DataLayout.Place(Split(model, proto, options));
        var data = layout.Tensors.Count > 0 ? new DataFile(layout, options).Write(path) : null;
        var graph = Serialize(proto, path);
        OutputFile.Write(path, graph);
        DataFile.RemoveSuperseded(path, data);
        return new SavedModel(path, data, graph.Length + layout.Length);
    }

    private static void CheckTarget(OnnxModel model, string path)
    {
        if (Directory.Exists(path)) throw new IOException($"cannot write '{path}': it is a folder; give the name of an .onnx file");
        if (Path.EndsInDirectorySeparator(path)) throw new IOException($"cannot write '{path}': it names a folder; give the name of an .onnx file");

        var target = ExternalPath.RealPath(path);
        if (model.Files.FirstOrDefault(file => ExternalPath.RealPath(Path.GetFullPath(file)) == target) is { } same)
        {
            throw new IOException($"the output is the input itself ('{same}'); give another name");
        }

        // A rename would put the model in the place of whatever is there: a device, somebody's document.
        if (File.Exists(path) && !path.EndsWith(".onnx", StringComparison.OrdinalIgnoreCase))
        {
            throw new IOException($"cannot write '{path}': it exists and is no .onnx file; give another name");
        }
    }

    private static byte[] Serialize(ModelProto proto, string path)
    {
        try
        {
            return proto.ToByteArray();
        }
        catch (Exception error) when (error is OverflowException or OutOfMemoryException or ArgumentException)
        {
            throw new IOException($"cannot write '{path}': the graph without its data has more than the {int.MaxValue} bytes that protobuf permits", error);
        }
    }

    /// <summary>Moves small data into the graph; what is left goes into the data file.</summary>
    private static List<(TensorProto Proto, LazyTensor Tensor)> Split(OnnxModel model, ModelProto proto, SaveOptions options)
    {
        var weights = ProtoWalk.Weights(proto).Where(tensor => TensorTable.IsReference(tensor) || tensor.HasRawData)
            .Select(tensor => (Proto: tensor, Tensor: model.Tensors.Find(tensor)))
            .Where(item => item.Tensor is not null).Select(item => (item.Proto, Tensor: item.Tensor!)).ToList();
        var bulk = weights.Where(item => !DataLayout.StaysInline(item.Tensor)).ToList();
        var total = weights.Sum(item => item.Tensor.ByteLength);
        var inline = options.Placement == DataPlacement.Inline || (options.Placement == DataPlacement.Auto && total <= LargestInline);
        if (inline)
        {
            if (total > int.MaxValue) throw new IOException($"the tensors have {total} bytes; a file without external data can hold {int.MaxValue}");
            Embed([.. bulk.Where(item => TensorTable.IsReference(item.Proto))], options.Cancellation);
            bulk = [];
        }

        // Attributes of other nodes than Constant, parts of sparse tensors, and what is small.
        var external = bulk.Select(item => item.Proto).ToHashSet(ReferenceEqualityComparer.Instance);
        foreach (var tensor in ProtoWalk.Tensors(proto).Where(tensor => TensorTable.IsReference(tensor) && !external.Contains(tensor)))
        {
            SetRaw(tensor, ByteString.CopyFrom(model.Tensors.Find(tensor)!.ReadBytes()));
        }

        return bulk;
    }

    private static void Embed(List<(TensorProto Proto, LazyTensor Tensor)> tensors, CancellationToken cancellation)
    {
        // One call of a producer serves all of its tensors.
        foreach (var group in tensors.GroupBy(item => item.Tensor is GeneratedTensor generated ? generated.Producer : (object)item.Tensor))
        {
            cancellation.ThrowIfCancellationRequested();
            using var produced = (group.Key as TensorProducer)?.Produce(cancellation);
            foreach (var (proto, tensor) in group)
            {
                SetRaw(proto, produced is null
                    ? UnsafeByteOperations.UnsafeWrap(tensor.ReadBytes())
                    : ByteString.CopyFrom(produced.Data[((GeneratedTensor)tensor).Index].Span));
            }
        }
    }

    private static void SetRaw(TensorProto proto, ByteString data)
    {
        proto.ExternalData.Clear();
        proto.ClearDataLocation();
        proto.RawData = data;
    }
}
