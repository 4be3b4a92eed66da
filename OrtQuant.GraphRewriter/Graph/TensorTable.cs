using System.Globalization;
using Onnx;
using OrtQuant.Descriptions;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>
/// The bulk data of a model. Protobuf objects hold only a number for it, so that graphs can be cloned, edited and moved about without
/// touching a tensor: a TensorProto with data_location EXTERNAL and the entry <see cref="Key"/>.
/// </summary>
internal sealed class TensorTable
{
    private const string Key = "ortquant.tensor";
    private readonly List<LazyTensor> _tensors = [];

    /// <summary>A TensorProto that stands for a tensor.</summary>
    internal TensorProto Add(string name, LazyTensor tensor)
    {
        var proto = new TensorProto { Name = name };
        Refer(proto, tensor);
        return proto;
    }

    /// <summary>Makes a TensorProto stand for a tensor, of any type and shape; the name stays.</summary>
    internal void Refer(TensorProto proto, LazyTensor tensor)
    {
        proto.ClearRawData();
        proto.FloatData.Clear();
        proto.Int32Data.Clear();
        proto.Int64Data.Clear();
        proto.DoubleData.Clear();
        proto.Uint64Data.Clear();
        proto.ExternalData.Clear();
        proto.DataType = (int)tensor.Type;
        if (!proto.Dims.SequenceEqual(tensor.Shape))
        {
            proto.Dims.Clear();
            proto.Dims.AddRange(tensor.Shape);
        }

        proto.DataLocation = TensorProto.Types.DataLocation.External;
        proto.ExternalData.Add(new StringStringEntryProto { Key = Key, Value = _tensors.Count.ToString(CultureInfo.InvariantCulture) });
        _tensors.Add(tensor);
    }

    /// <summary>Whether the data is in this table, not in the TensorProto.</summary>
    internal static bool IsReference(TensorProto proto) =>
        proto.DataLocation == TensorProto.Types.DataLocation.External && proto.ExternalData is [{ Key: Key }];

    /// <summary>The data of a TensorProto, or null where it is no dense numeric tensor.</summary>
    internal LazyTensor? Find(TensorProto proto)
    {
        if (IsReference(proto)) return _tensors[int.Parse(proto.ExternalData[0].Value, CultureInfo.InvariantCulture)];
        return proto.DataType == (int)ElementType.String ? null : InlineData.Read(proto);
    }
}
