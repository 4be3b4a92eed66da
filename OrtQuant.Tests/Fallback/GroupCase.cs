using Onnx;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Fallback;

/// <summary>One weight of scheme <c>group</c> with random parameters, negative scales and all kinds of zero points among them.</summary>
internal sealed record GroupCase(WeightShape Shape, GroupParameters Format) : MatMulCase(GroupScheme.Instance, Shape, Format)
{
    /// <summary>Stored tensors, in the order of <see cref="IWeightScheme.Tensors"/>.</summary>
    public IReadOnlyList<byte[]> Pack()
    {
        var scheme = GroupScheme.Instance;
        var random = new Random(Seed);
        using var grid = (IAffineGrid)scheme.CreateGrid(Shape, Parameters);
        for (var n = 0L; n < Shape.N; n++)
        {
            random.NextBytes(grid.Codes(n));
            foreach (ref var code in grid.Codes(n)) code &= (byte)grid.MaxCode;
            for (var g = 0; g < grid.GroupCount; g++)
            {
                var zeroPoint = Format.ZeroPoint switch
                {
                    ZeroPointKind.None => 1 << (Format.Bits - 1),
                    ZeroPointKind.Integer => random.Next(grid.MaxCode + 1),
                    _ => (float)(Half)(random.NextDouble() * grid.MaxCode),
                };
                grid.SetGroup(n, g, (float)(Half)((random.NextDouble() + 0.5) * (random.Next(2) == 0 ? 0.1 : -0.1)), zeroPoint);
            }
        }

        var tensors = scheme.Tensors(Shape, Parameters).Select(spec => new byte[spec.ByteLength]).ToArray();
        scheme.Encode(grid, [.. tensors.Select(tensor => tensor.AsMemory())]);
        return tensors;
    }

    /// <summary>A model of one GatherNBits node, with its function.</summary>
    public byte[] GatherModel(IReadOnlyList<byte[]> tensors, ElementType indices)
    {
        var node = new NodeProto { OpType = "GatherNBits", Domain = "ortquant", Name = "rows", Output = { "Y" } };
        node.Attribute.AddRange(GroupOp.GatherAttributes(Shape, Format, Type).Select(Nodes.Attribute));
        node.Input.AddRange(tensors.Count > 2 ? ["indices", "W", "scales", "zero_points"] : ["indices", "W", "scales"]);
        var graph = new GraphProto { Name = "test", Node = { node } };
        AddWeights(graph, tensors);
        graph.Input.Add(ModelBuilder.Value("indices", indices, "batch", "rows"));
        graph.Output.Add(ModelBuilder.Value("Y", Type, "batch", "rows", Shape.K));
        return Emit(graph);
    }
}
