using System.Globalization;
using System.Security.Cryptography;
using Onnx;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>
/// Writes the external data of a model, tensor by tensor, into a file that is named after its content: it never takes the place of a file with
/// other content, and equal models have equal bytes.
/// </summary>
internal sealed class DataFile(DataLayout layout, SaveOptions options)
{
    private const int CopyBytes = 4 << 20;
    private const int HashBytes = 8;
    private const string Suffix = ".data";

    /// <summary>Writes the file beside a graph and lets the tensors refer to it.</summary>
    /// <returns>Its full path.</returns>
    internal string Write(string graphPath)
    {
        using var output = OutputFile.Create(graphPath, layout.Length);
        var hash = WriteTensors(output);
        var path = $"{graphPath}.{Convert.ToHexStringLower(hash.AsSpan(0, HashBytes))}{Suffix}";
        var name = Path.GetFileName(path);
        foreach (var (proto, tensor, offset) in layout.Tensors)
        {
            proto.ClearRawData();
            proto.ExternalData.Clear();
            proto.DataLocation = TensorProto.Types.DataLocation.External;
            Add("location", name);
            Add("offset", offset.ToString(CultureInfo.InvariantCulture));
            Add("length", tensor.ByteLength.ToString(CultureInfo.InvariantCulture));

            void Add(string key, string value) => proto.ExternalData.Add(new StringStringEntryProto { Key = key, Value = value });
        }

        output.Commit(path);
        return path;
    }

    /// <summary>
    /// Deletes data of earlier saves of a graph, interrupted ones too; not what another model of the folder refers to (a renamed copy of an
    /// earlier output).
    /// </summary>
    /// <param name="graphPath">The graph.</param>
    /// <param name="current">Its data file, if it has one.</param>
    internal static void RemoveSuperseded(string graphPath, string? current)
    {
        var folder = Path.GetDirectoryName(graphPath)!;
        var prefix = Path.GetFileName(graphPath) + ".";
        var old = Directory.EnumerateFiles(folder, $"{prefix}*{Suffix}").Where(path => path != current && IsOurs(Path.GetFileName(path), prefix)).ToList();
        if (old.Count == 0) return;
        var others = Directory.EnumerateFiles(folder, "*.onnx").Where(path => path != graphPath).ToList();
        foreach (var path in old.Where(path => !others.Exists(other => Mentions(other, Path.GetFileName(path))))) OutputFile.TryDelete(path);
    }

    private static bool IsOurs(string name, string prefix)
    {
        if (name.Length != prefix.Length + (HashBytes * 2) + Suffix.Length) return false;
        return name[prefix.Length..^Suffix.Length].All(char.IsAsciiHexDigitLower);
    }

    private static bool Mentions(string modelPath, string name)
    {
        try
        {
            using var file = new MappedFile(modelPath);
            var text = System.Text.Encoding.UTF8.GetBytes(name);
            for (var at = 0L; at < file.Length; at += CopyBytes)
            {
                if (file.Span(at, (int)Math.Min(CopyBytes + text.Length, file.Length - at)).IndexOf(text) >= 0) return true;
            }

            return false;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Nobody can say: the file stays.
            return true;
        }
    }

    /// <summary>Writes every tensor at its offset and gives a hash of the file.</summary>
    private byte[] WriteTensors(OutputFile output)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var copy = new byte[CopyBytes];
        ProducedTensors? produced = null;
        TensorProducer? producer = null;
        try
        {
            foreach (var (proto, tensor, offset) in layout.Tensors)
            {
                options.Cancellation.ThrowIfCancellationRequested();
                options.Progress?.Report(new SaveProgress(offset, layout.Length, proto.Name));
                Write(new byte[offset - output.Position]);
                if (tensor is not GeneratedTensor generated)
                {
                    Copy(tensor);
                    continue;
                }

                if (producer != generated.Producer)
                {
                    // The last weight's buffers go before the next weight's come.
                    produced?.Dispose();
                    produced = null;
                    producer = generated.Producer;
                    produced = producer.Produce(options.Cancellation);
                }

                Write(produced!.Data[generated.Index].Span);
            }
        }
        finally
        {
            produced?.Dispose();
        }

        options.Progress?.Report(new SaveProgress(layout.Length, layout.Length, ""));
        return hash.GetHashAndReset();

        void Copy(LazyTensor tensor)
        {
            for (var at = 0L; at < tensor.ByteLength; at += copy.Length)
            {
                options.Cancellation.ThrowIfCancellationRequested();
                var count = (int)Math.Min(copy.Length, tensor.ByteLength - at);
                if (!tensor.TryGetSpan(at, count, out var part))
                {
                    tensor.Read(at, copy.AsSpan(0, count));
                    part = copy.AsSpan(0, count);
                }

                Write(part);
            }
        }

        void Write(ReadOnlySpan<byte> bytes)
        {
            output.Write(bytes);
            hash.AppendData(bytes);
        }
    }
}
