using System.Globalization;
using Onnx;
using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>Opens data that tensors have in files beside the model. No file outside the model's folder is ever opened.</summary>
internal sealed class ExternalData
{
    private readonly TensorStore _tensors;
    private readonly string _folder;
    private readonly HashSet<string> _roots;
    private readonly Dictionary<string, MappedFile> _files = [];

    /// <summary>For a model file.</summary>
    /// <param name="modelPath">Full path. Where it is a link, the folder it leads to is the model's folder as well.</param>
    /// <param name="tensors">Keeps the files open.</param>
    public ExternalData(string modelPath, TensorStore tensors)
    {
        _tensors = tensors;
        _folder = Path.GetDirectoryName(modelPath)!;
        _roots = [CanonicalPath.Of(_folder), Path.GetDirectoryName(CanonicalPath.Of(modelPath))!];
    }

    /// <summary>The data of a tensor message.</summary>
    /// <exception cref="ModelFormatException">The path leaves the folder, the file is not there or too short, or the message is malformed.</exception>
    public LazyTensor Open(TensorProto tensor)
    {
        var (type, needed) = TensorCheck.Geometry(tensor);
        if (type == ElementType.String) throw new ModelFormatException($"tensor '{tensor.Name}' holds strings; external data must be of a type of fixed width");
        var location = Entry(tensor, "location") ?? throw new ModelFormatException($"tensor '{tensor.Name}' has external data without a location");
        var offset = Number(tensor, "offset") ?? 0;
        var length = Number(tensor, "length") ?? needed;
        if (length != needed)
        {
            throw new ModelFormatException(
                $"tensor '{tensor.Name}' has external data of length {length}; its type {type} and dimensions [{string.Join(", ", tensor.Dims)}] need {needed}");
        }

        var file = OpenFile(tensor.Name, location);
        if (offset > file.Length - length)
        {
            throw new ModelFormatException($"tensor '{tensor.Name}' reads bytes {offset} to {(UInt128)offset + (UInt128)length} of '{location}', which has {file.Length}");
        }

        return new MappedTensor(file, offset, type, [.. tensor.Dims], length);
    }

    private MappedFile OpenFile(string tensor, string location)
    {
        if (_files.TryGetValue(location, out var open)) return open;
        if (location.Length == 0 || location.Contains('\0') || Path.IsPathRooted(location))
        {
            throw new ModelFormatException($"tensor '{tensor}' has external data at '{location.Replace("\0", "\\0", StringComparison.Ordinal)}'; the location must be a path relative to the model's folder");
        }

        var full = Path.GetFullPath(Path.Combine(_folder, location));
        if (!IsInside(full, _folder)) throw Outside(tensor, location);
        if (!File.Exists(full)) throw new ModelFormatException($"tensor '{tensor}' has external data in '{location}', which is not in '{_folder}'");
        var target = CanonicalPath.Of(full);
        if (!_roots.Any(root => IsInside(target, root))) throw Outside(tensor, location);
        var info = new FileInfo(target);

        // What is no ordinary file (a pipe, a device) has no length and might never end.
        return _files[location] = info.Length == 0
            ? throw new ModelFormatException($"tensor '{tensor}' has external data in '{location}', which is empty")
            : _tensors.Add(MappedFile.Open(target));
    }

    private static bool IsInside(string path, string folder) =>
        path.StartsWith(Path.EndsInDirectorySeparator(folder) ? folder : folder + Path.DirectorySeparatorChar, StringComparison.Ordinal);

    private static ModelFormatException Outside(string tensor, string location) =>
        new($"tensor '{tensor}' has external data at '{location}', which leads outside the model's folder; it must lie in that folder or below it");

    private static string? Entry(TensorProto tensor, string key) => tensor.ExternalData.LastOrDefault(entry => entry.Key == key)?.Value;

    private static long? Number(TensorProto tensor, string key)
    {
        if (Entry(tensor, key) is not { } text) return null;
        return long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? number
            : throw new ModelFormatException($"tensor '{tensor.Name}' has external data with {key} '{text}'; it must be a number from 0 to {long.MaxValue}");
    }
}
