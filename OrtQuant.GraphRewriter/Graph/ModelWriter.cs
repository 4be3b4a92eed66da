using System.Globalization;
using System.Security.Cryptography;
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
    private const int CopyBytes = 4 << 20;
    private const int HashBytes = 8;

    /// <summary>Saves a model.</summary>
    /// <param name="model">The model; it is not changed.</param>
    /// <param name="path">The .onnx file to write; an external data file goes beside it.</param>
    /// <param name="options">Options.</param>
    /// <returns>What was written.</returns>
    /// <exception cref="IOException">The disk is full, a file cannot be written, or the output is the model itself.</exception>
    public static SavedModel Save(OnnxModel model, string path, SaveOptions? options = null)
    {
        options ??= new SaveOptions();
        path = Path.GetFullPath(path);
        if (model.Path is not null && Path.GetFullPath(model.Path) == path) throw new IOException($"the output is the input itself ({path}); give another name");
        var folder = Path.GetDirectoryName(path)!;
        Directory.CreateDirectory(folder);
        OutputFiles.RemoveStale(folder);

        var proto = model.Proto.Clone();
        var external = Split(model, proto, options.Placement);
        var layout = DataLayout.Place(external);
        var data = layout.Tensors.Count > 0 ? WriteData(layout, path, options) : null;
        if (proto.CalculateSize() is < 0 or int.MaxValue) throw new IOException("the graph alone is past the 2 GiB that protobuf allows");
        var graph = proto.ToByteArray();
        OutputFiles.Write(path, graph);

        RemoveSuperseded(path, data);
        return new SavedModel(path, data, graph.Length + layout.Length);
    }

    /// <summary>Moves small data into the graph; what is left goes into the data file.</summary>
    private static List<(TensorProto Proto, LazyTensor Tensor)> Split(OnnxModel model, ModelProto proto, DataPlacement placement)
    {
        foreach (var tensor in ProtoWalk.AttributeTensors(proto).Where(TensorTable.IsReference)) Embed(tensor, model.Tensors.Find(tensor)!);
        var initializers = ProtoWalk.Graphs(proto).SelectMany(graph => graph.Initializer)
            .Where(TensorTable.IsReference)
            .Select(tensor => (Proto: tensor, Tensor: model.Tensors.Find(tensor)!))
            .ToList();
        var total = initializers.Sum(item => item.Tensor.ByteLength);
        var inline = placement == DataPlacement.Inline || (placement == DataPlacement.Auto && total <= LargestInline);
        if (!inline)
        {
            foreach (var (tensor, data) in initializers.Where(item => item.Tensor.ByteLength < DataLayout.SmallestExternal)) Embed(tensor, data);
            return [.. initializers.Where(item => item.Tensor.ByteLength >= DataLayout.SmallestExternal)];
        }

        if (total > int.MaxValue) throw new IOException($"the tensors have {total} bytes; a file without external data can hold {int.MaxValue}");
        EmbedAll(initializers);
        return [];
    }

    private static void EmbedAll(List<(TensorProto Proto, LazyTensor Tensor)> tensors)
    {
        // One call of a producer serves all of its tensors.
        foreach (var group in tensors.GroupBy(item => item.Tensor is GeneratedTensor generated ? generated.Producer : (object)item.Tensor))
        {
            if (group.Key is not TensorProducer producer)
            {
                foreach (var (proto, tensor) in group) Embed(proto, tensor);
                continue;
            }

            var produced = producer.Produce(CancellationToken.None);
            foreach (var (proto, tensor) in group) SetRaw(proto, UnsafeByteOperations.UnsafeWrap(produced[((GeneratedTensor)tensor).Index]));
        }
    }

    private static void Embed(TensorProto proto, LazyTensor tensor) => SetRaw(proto, UnsafeByteOperations.UnsafeWrap(tensor.ReadBytes()));

    private static void SetRaw(TensorProto proto, ByteString data)
    {
        proto.ExternalData.Clear();
        proto.ClearDataLocation();
        proto.RawData = data;
    }

    private static string WriteData(DataLayout layout, string path, SaveOptions options)
    {
        var temporary = OutputFiles.TemporaryFor(path);
        try
        {
            string name;
            using (var stream = new FileStream(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1))
            {
                name = DataName(path, WriteTensors(layout, stream, options));
                stream.Flush(flushToDisk: true);
            }

            foreach (var (proto, tensor, offset) in layout.Tensors)
            {
                proto.ExternalData.Clear();
                Add("location", name);
                Add("offset", offset.ToString(CultureInfo.InvariantCulture));
                Add("length", tensor.ByteLength.ToString(CultureInfo.InvariantCulture));

                void Add(string key, string value) => proto.ExternalData.Add(new StringStringEntryProto { Key = key, Value = value });
            }

            var final = Path.Combine(Path.GetDirectoryName(path)!, name);
            File.Move(temporary, final, overwrite: true);
            return final;
        }
        catch
        {
            OutputFiles.TryDelete(temporary);
            throw;
        }
    }

    /// <summary>Writes every tensor at its offset and gives a hash of the file.</summary>
    private static byte[] WriteTensors(DataLayout layout, FileStream stream, SaveOptions options)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var copy = new byte[CopyBytes];
        (TensorProducer Producer, IReadOnlyList<Memory<byte>> Data)? produced = null;
        foreach (var (proto, tensor, offset) in layout.Tensors)
        {
            options.Cancellation.ThrowIfCancellationRequested();
            options.Progress?.Report(new SaveProgress(offset, layout.Length, proto.Name));
            Write(new byte[offset - stream.Position]);
            if (tensor is GeneratedTensor generated)
            {
                if (produced?.Producer != generated.Producer)
                {
                    // The last weight's buffers go before the next weight's come.
                    produced = null;
                    produced = (generated.Producer, generated.Producer.Produce(options.Cancellation));
                }

                Write(produced.Value.Data[generated.Index].Span);
                continue;
            }

            for (var at = 0L; at < tensor.ByteLength; at += copy.Length)
            {
                options.Cancellation.ThrowIfCancellationRequested();
                var part = copy.AsSpan(0, (int)Math.Min(copy.Length, tensor.ByteLength - at));
                tensor.Read(at, part);
                Write(part);
            }
        }

        options.Progress?.Report(new SaveProgress(layout.Length, layout.Length, ""));
        return hash.GetHashAndReset();

        void Write(ReadOnlySpan<byte> bytes)
        {
            stream.Write(bytes);
            hash.AppendData(bytes);
        }
    }

    private static string DataName(string path, byte[] hash) =>
        $"{Path.GetFileName(path)}.{Convert.ToHexStringLower(hash.AsSpan(0, HashBytes))}.data";

    /// <summary>Deletes data of earlier saves of this model, of those that were interrupted too.</summary>
    private static void RemoveSuperseded(string path, string? data)
    {
        var prefix = Path.GetFileName(path) + ".";
        foreach (var other in Directory.EnumerateFiles(Path.GetDirectoryName(path)!, $"{prefix}*.data").Where(other => other != data))
        {
            var hash = Path.GetFileName(other)[prefix.Length..^".data".Length];
            if (hash.Length == HashBytes * 2 && hash.All(char.IsAsciiHexDigitLower)) OutputFiles.TryDelete(other);
        }
    }
}
