using Onnx;
using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>
/// Where each tensor lies in the external data file, fixed before any data exists. Tensors that are mapped page by page start on a page;
/// smaller ones on a cache line.
/// </summary>
internal sealed class DataLayout
{
    private const long SmallestExternal = 1024;

    // Shapes and axes: ONNX Runtime infers shapes from their values, which it does not look for in external data.
    private const long SmallestExternalVector = 64 << 10;
    private const long PageSized = 1 << 20;
    private const long PageAlignment = 4096;
    private const long LineAlignment = 64;

    private readonly List<PlacedTensor> _tensors = [];

    /// <summary>The tensors by offset; those of one producer are neighbours.</summary>
    internal IReadOnlyList<PlacedTensor> Tensors => _tensors;

    /// <summary>Bytes of the file.</summary>
    internal long Length { get; private set; }

    /// <summary>Whether a tensor stays in the model file.</summary>
    internal static bool StaysInline(LazyTensor tensor) =>
        tensor.ByteLength < (tensor.Type is ElementType.Int64 or ElementType.Int32 && tensor.Shape.Count <= 1 ? SmallestExternalVector : SmallestExternal);

    /// <summary>Places tensors in the order given, those of one producer together.</summary>
    internal static DataLayout Place(IEnumerable<(TensorProto Proto, LazyTensor Tensor)> tensors)
    {
        var layout = new DataLayout();
        var placed = new HashSet<TensorProducer>();
        var all = tensors.ToList();
        var byProducer = all.Where(item => item.Tensor is GeneratedTensor).ToLookup(item => ((GeneratedTensor)item.Tensor).Producer);
        foreach (var (proto, tensor) in all)
        {
            if (tensor is not GeneratedTensor generated)
            {
                layout.Add(proto, tensor);
            }
            else if (placed.Add(generated.Producer))
            {
                foreach (var sibling in byProducer[generated.Producer]) layout.Add(sibling.Proto, sibling.Tensor);
            }
        }

        return layout;
    }

    private void Add(TensorProto proto, LazyTensor tensor)
    {
        var alignment = tensor.ByteLength >= PageSized ? PageAlignment : LineAlignment;
        var offset = (Length + alignment - 1) / alignment * alignment;
        _tensors.Add(new PlacedTensor(proto, tensor, offset));
        Length = checked(offset + tensor.ByteLength);
    }
}

/// <summary>A tensor and its place in the data file.</summary>
internal readonly record struct PlacedTensor(TensorProto Proto, LazyTensor Tensor, long Offset);
