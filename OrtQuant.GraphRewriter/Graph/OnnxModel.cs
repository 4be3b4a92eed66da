using Onnx;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>
/// A model: its graphs with use-def edges, and its tensors, mapped and read on demand. Editing goes through <see cref="Graph"/>; what is
/// not graph (metadata, functions, imports, fields this library does not know) stays in <see cref="Proto"/> and is saved as it was.
/// </summary>
public sealed class OnnxModel : IDisposable
{
    internal const int DeepestNesting = 64;

    private readonly ModelProto _proto;
    private readonly IReadOnlyList<IDisposable> _files;
    private readonly List<IDisposable> _owned = [];
    private HashSet<string> _names = [];

    internal OnnxModel(ModelProto proto, string? path, TensorTable tensors, IReadOnlyList<IDisposable> files)
    {
        (_proto, Path, Tensors, _files) = (proto, path, tensors, files);
        Graph = Build();
    }

    /// <summary>The file it was read from; null for a model made in memory.</summary>
    public string? Path { get; }

    /// <summary>The folder of that file.</summary>
    public string? Directory => Path is null ? null : System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(Path));

    /// <summary>The model as ONNX stores it, up to date with the graphs. Bulk tensor data is not in it.</summary>
    public ModelProto Proto
    {
        get
        {
            Graph.Sync();
            return _proto;
        }
    }

    /// <summary>The main graph.</summary>
    public OnnxGraph Graph { get; private set; }

    /// <summary>The main graph and every body of an If, Loop or Scan, outer ones first.</summary>
    public IReadOnlyList<OnnxGraph> AllGraphs
    {
        get
        {
            var found = new List<OnnxGraph> { Graph };
            for (var i = 0; i < found.Count; i++) found.AddRange(found[i].Nodes.SelectMany(node => node.Subgraphs));
            return found;
        }
    }

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
    {
        if (Opset(domain) == 0) _proto.OpsetImport.Add(new OperatorSetIdProto { Domain = domain, Version = version });
    }

    /// <summary>Adds a model-local function.</summary>
    public void AddFunction(FunctionProto function) => _proto.Functions.Add(function);

    /// <summary>Changes the protobuf objects; every graph object is made anew afterwards.</summary>
    public void Edit(Action<ModelProto> change)
    {
        change(Proto);
        Graph = Build();
    }

    /// <summary>The data of a TensorProto of this model; null for strings.</summary>
    public LazyTensor? Tensor(TensorProto proto) => Tensors.Find(proto);

    /// <summary>Releases the mapped files; tensors can no longer be read.</summary>
    public void Dispose()
    {
        foreach (var file in _files.Concat(_owned)) file.Dispose();
    }

    /// <summary>Keeps something open that tensors of the model read from, as long as the model is.</summary>
    internal void Own(IDisposable file) => _owned.Add(file);

    internal string UniqueName(string hint)
    {
        if (!_names.Contains(hint)) return hint;
        for (var i = 1; ; i++)
        {
            if (!_names.Contains($"{hint}_{i}")) return $"{hint}_{i}";
        }
    }

    internal void ClaimName(string name) => _names.Add(name);

    private OnnxGraph Build()
    {
        if (_proto.Graph is null) throw new ModelFormatException("the file holds no graph: not an ONNX model, or damaged");
        var graph = new OnnxGraph(this, _proto.Graph, null);
        graph.Build(0);
        _names = [.. ValueNames(_proto.Graph)];
        return graph;
    }

    private static IEnumerable<string> ValueNames(GraphProto graph) =>
        graph.Input.Concat(graph.Output).Select(value => value.Name)
            .Concat(graph.Initializer.Select(tensor => tensor.Name))
            .Concat(graph.Node.SelectMany(node => node.Output))
            .Concat(graph.Node.SelectMany(ProtoWalk.Bodies).SelectMany(ValueNames));
}
