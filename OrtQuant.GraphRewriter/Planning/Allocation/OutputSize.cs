using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Rewriting;

namespace OrtQuant.GraphRewriter.Planning.Allocation;

/// <summary>The size of a model that a plan would write, without quantizing anything: never less than it will be, and larger by little.</summary>
internal static class OutputSize
{
    // What a TensorProto says beside its data: where the data is, or how long.
    private const int ExternalEntry = 192;
    private const int InlineEntry = 16;

    /// <summary>Bytes of graph and external data.</summary>
    internal static long Of(OnnxModel model, QuantizationPlan plan, CancellationToken cancellation)
    {
        var clone = model.Clone();
        new PlanApplier(clone, plan, new RewriteOptions { CancellationToken = cancellation }).Apply(PackedWeights.Prepare(clone, plan, cancellation));
        var tensors = ProtoWalk.Weights(clone.Proto).Where(TensorTable.IsReference).Select(proto => (proto, clone.Tensors.Find(proto)!)).ToList();
        var external = tensors.Where(tensor => !DataLayout.StaysInline(tensor.Item2)).ToList();

        // A small model keeps its data in the graph, where it takes the same room or less: no gaps.
        var data = DataLayout.Place(external).Length;
        var inline = tensors.Sum(tensor => tensor.Item2.ByteLength) - external.Sum(tensor => tensor.Item2.ByteLength);
        return clone.Proto.CalculateSize() + data + inline + (long)external.Count * ExternalEntry + (long)(tensors.Count - external.Count) * InlineEntry;
    }
}
