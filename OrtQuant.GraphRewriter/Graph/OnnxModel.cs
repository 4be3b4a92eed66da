using Onnx;
using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>
/// A model: the messages, with use-def edges over its graphs, and its bulk data as lazy tensors. The data of large tensors are not in
/// the messages, wherever the file had them; <see cref="ModelWriter"/> puts them into a new file.
/// </summary>
public sealed class OnnxModel : IDisposable
{
    private readonly HashSet<string> _names = [];
    private List<OnnxGraph>? _graphs;

    private OnnxModel(ModelProto proto, string? path, TensorStore tensors)
    {
        Proto = proto;
        FilePath = path;
        Tensors = tensors;
        Graph = Build();
    }

    /// <summary>The message. Nodes, values and initializers are changed through the graphs, everything else here.</summary>
    public ModelProto Proto { get; }

    /// <summary>Full path of the file it came from; null for a model made in memory.</summary>
    public string? FilePath { get; }

    /// <summary>The folder of the file, where external data are looked for; null for a model made in memory.</summary>
    public string? Directory => Path.GetDirectoryName(FilePath);

    /// <summary>The main graph.</summary>
    public OnnxGraph Graph { get; private set; }

    /// <summary>The main graph, and every graph in attributes of its nodes, outer ones first.</summary>
    public IReadOnlyList<OnnxGraph> AllGraphs => _graphs ??= Collect(Graph, []);

    internal TensorStore Tensors { get; }

    /// <summary>Opens a model. Files stay mapped until it is disposed.</summary>
    /// <param name="path">An .onnx file; external data lie in its folder or below it.</param>
    /// <exception cref="ModelFormatException">The file is no ONNX model or a malformed one.</exception>
    /// <exception cref="IOException">A file cannot be read.</exception>
    public static OnnxModel Load(string path)
    {
        var full = Path.GetFullPath(path);
        var tensors = new TensorStore();
        try
        {
            return new OnnxModel(ModelReader.Read(full, tensors), full, tensors);
        }
        catch
        {
            tensors.Dispose();
            throw;
        }
    }

<<<<<<< Updated upstream
    internal TensorTable Tensors { get; }

    /// <summary>Bytes of the model file and of the external data it refers to; 0 for a model made in memory.</summary>
    internal long FileBytes => _files.OfType<MappedFile>().Sum(file => file.Length);

    /// <summary>The external data files, as full paths without symbolic links.</summary>
    internal IReadOnlyList<string> ExternalFiles => [.. _files.OfType<MappedFile>().Skip(1).Select(file => file.Path)];

    /// <summary>The files it was read from: the model and its external data.</summary>
    internal IEnumerable<string> Files => Path is null ? [] : ExternalFiles.Prepend(Path);

    /// <summary>Reads a model. Tensors are mapped, not read.</summary>
    /// <param name="path">An .onnx file.</param>
    /// <exception cref="ModelFormatException">The file is no valid model.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static OnnxModel Load(string path) => ModelReader.Read(path);

    /// <summary>A model made in memory.</summary>
    /// <param name="proto">Kept and changed.</param>
    /// <exception cref="ModelFormatException">It is no valid model.</exception>
    public static OnnxModel FromProto(ModelProto proto) => new(proto, null, new TensorTable(), []);

    /// <summary>A copy whose graph can be changed by itself. It shares the tensors, which are readable as long as this model is open.</summary>
    public OnnxModel Clone() => new(Proto.Clone(), Path, Tensors, []);

    /// <summary>Version of an operator set that the model imports; 0 where it does not.</summary>
    public long Opset(string domain = "") =>
        _proto.OpsetImport.FirstOrDefault(import => (import.Domain == "ai.onnx" ? "" : import.Domain) == domain)?.Version ?? 0;

    /// <summary>Imports an operator set unless the model does already.</summary>
    public void EnsureOpset(string domain, long version)
=======
    /// <summary>A model of a message in memory, without external data.</summary>
    /// <exception cref="ModelFormatException">The model is malformed, or has external data.</exception>
    public static OnnxModel FromProto(ModelProto proto)
>>>>>>> Stashed changes
    {
        ModelReader.Check(proto);
        return new OnnxModel(proto, null, new TensorStore());
    }

    /// <summary>A copy that can be changed on its own; bulk data are shared.</summary>
    public OnnxModel Clone() => new(Proto.Clone(), FilePath, Tensors.Share());

    /// <summary>Closes the files.</summary>
    public void Dispose() => Tensors.Dispose();

    /// <summary>Changes the message at will, and builds graphs, nodes and values anew; the old ones are dead.</summary>
    /// <exception cref="ModelFormatException">The change left the model malformed.</exception>
    public void Edit(Action<ModelProto> edit)
    {
        edit(Proto);
        Graph = Build();
    }

    /// <summary>Version of a domain's operators; 0 where the model does not import the domain.</summary>
    public int Opset(string domain = "") => (int)(Import(domain)?.Version ?? 0);

    /// <summary>Imports a domain's operators in this version, if not in a newer one.</summary>
    public void EnsureOpset(string domain, int version)
    {
        if (Import(domain) is not { } import)
        {
            Proto.OpsetImport.Add(new OperatorSetIdProto { Domain = domain, Version = version });
        }
        else if (import.Version < version)
        {
            import.Version = version;
        }
    }

    /// <summary>Adds a function of the model's own, unless it has one of the same domain, name and overload.</summary>
    public void AddFunction(FunctionProto function)
    {
        if (!Proto.Functions.Any(known => known.Domain == function.Domain && known.Name == function.Name && known.Overload == function.Overload))
        {
            Proto.Functions.Add(function);
        }
    }

    /// <summary>The data of a tensor message of this model (of an attribute, for example); null for strings.</summary>
    public LazyTensor? Tensor(TensorProto proto) => Tensors.Tensor(proto);

    /// <summary>Lets a tensor message of this model stand for other data, of any type and shape.</summary>
    public void SetTensor(TensorProto proto, LazyTensor tensor) => Tensors.Refer(proto, tensor);

    internal static string NormalizeDomain(string domain) => domain == "ai.onnx" ? "" : domain;

    internal void ForgetGraphs() => _graphs = null;

    internal void TakeName(string name) => _names.Add(name);

    internal string UniqueName(string hint)
    {
        if (_names.Add(hint)) return hint;
        for (var i = 1; ; i++)
        {
            if (_names.Add($"{hint}_{i}")) return $"{hint}_{i}";
        }
    }

    private OperatorSetIdProto? Import(string domain) =>
        Proto.OpsetImport.FirstOrDefault(import => NormalizeDomain(import.Domain) == NormalizeDomain(domain));

    private OnnxGraph Build()
    {
        _names.Clear();
        _graphs = null;
        if (Proto.Graph is null) throw new ModelFormatException("the model has no graph");
        var graph = new OnnxGraph(this, Proto.Graph, null);
        foreach (var each in Collect(graph, [])) CycleCheck.Run(each);
        return graph;
    }

    private static List<OnnxGraph> Collect(OnnxGraph graph, List<OnnxGraph> graphs)
    {
        graphs.Add(graph);
        foreach (var node in graph.Nodes)
        {
            foreach (var inner in node.Subgraphs) Collect(inner, graphs);
        }

        return graphs;
    }
}
