using System.Globalization;
using System.Runtime.InteropServices;
using Google.Protobuf;
using Onnx;
using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>
/// The bulk data of a model. A <see cref="TensorProto"/> whose elements are not in the message itself carries a reference, an entry of
/// its external data that only means something in memory; so messages can be cloned and moved freely, and the data stay where they are.
/// </summary>
internal sealed class TensorStore : IDisposable
{
    private const string ReferenceKey = "ortquant.tensor";
    private readonly List<LazyTensor> _tensors = [];
    private readonly List<MappedFile> _files = [];
    private int _owners = 1;

    /// <summary>Files that tensors of the store read.</summary>
    public IReadOnlyList<MappedFile> Files => _files;

    public TensorStore Share()
    {
        Interlocked.Increment(ref _owners);
        return this;
    }

    /// <summary>Closes the files with the last owner.</summary>
    public void Dispose()
    {
        if (Interlocked.Decrement(ref _owners) > 0) return;
        foreach (var file in _files) file.Dispose();
    }

    public MappedFile Add(MappedFile file)
    {
        lock (_files) _files.Add(file);
        return file;
    }

    /// <summary>Lets a message stand for a tensor: type, dimensions and reference.</summary>
    public void Refer(TensorProto proto, LazyTensor tensor)
    {
        int index;
        lock (_tensors)
        {
            index = _tensors.Count;
            _tensors.Add(tensor);
        }

        ClearData(proto);
        proto.DataType = (int)tensor.Type;
        if (!proto.Dims.SequenceEqual(tensor.Shape))
        {
            proto.Dims.Clear();
            proto.Dims.AddRange(tensor.Shape);
        }

        proto.DataLocation = TensorProto.Types.DataLocation.External;
        proto.ExternalData.Add(new StringStringEntryProto { Key = ReferenceKey, Value = index.ToString(CultureInfo.InvariantCulture) });
    }

    /// <summary>The tensor that a message stands for; null where its elements are strings.</summary>
    /// <exception cref="ModelFormatException">The message is malformed.</exception>
    public LazyTensor? Tensor(TensorProto proto)
    {
        if (proto.ExternalData is [{ Key: ReferenceKey } reference])
        {
            lock (_tensors) return _tensors[int.Parse(reference.Value, CultureInfo.InvariantCulture)];
        }

        return proto.DataType == (int)ElementType.String ? null : InlineTensor.Read(proto);
    }

    /// <summary>Removes the elements of a message, and every reference to elements elsewhere.</summary>
    public static void ClearData(TensorProto proto)
    {
        proto.ClearRawData();
        proto.FloatData.Clear();
        proto.Int32Data.Clear();
        proto.Int64Data.Clear();
        proto.DoubleData.Clear();
        proto.Uint64Data.Clear();
        proto.StringData.Clear();
        proto.ExternalData.Clear();
        proto.ClearDataLocation();
    }
}
