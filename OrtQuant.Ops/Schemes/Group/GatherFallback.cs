using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Group;

/// <summary>
/// The body of <c>ortquant::GatherNBits</c>: the tiles that hold the wanted rows are gathered as they are stored, and only those
/// are unpacked, at run time. No copy of the weight is made, so that it stays shared with the head.
/// </summary>
internal static class GatherFallback
{
    private static readonly OpAttributeDescription[] Own =
    [
        Describe("fallback_tile_words", "Shape of gathered tiles by 4-byte words: [0, words of a row, 16, 4], 3 bits: [0, C, 3, 16, 4]."),
        Describe("fallback_row_groups", "Shape of gathered rows by groups, [-1, G, group size]."),
        Describe("fallback_row_pads", "From whole chunks to whole groups, as ONNX pads."),
        Describe("fallback_group_pads", "From the stored zero points of a row to its groups, as ONNX pads."),
        Describe("fallback_output_pads", "From whole groups to K, as ONNX pads."),
        Describe("fallback_output_end", "[K]: the last dimension of Y."),
    ];

    public static IReadOnlyList<OpAttributeDescription> Attributes => Own;

    /// <summary>Values of the attributes that <see cref="Body"/> reads for such a weight.</summary>
    public static IReadOnlyList<OpAttributeValue> Values(GroupGeometry geometry)
    {
        var k = geometry.Shape.K;
        var grouped = (long)geometry.Groups * geometry.GroupSize;
        var values = new List<OpAttributeValue>
        {
            // No -1 here: with no indices at all it could not be inferred.
            geometry.Parameters.Bits == 3
                ? OpAttributeValue.Ints("fallback_tile_words", 0, geometry.Chunks, 3, GroupGeometry.TileRows, 4)
                : OpAttributeValue.Ints("fallback_tile_words", 0, (long)geometry.Chunks * geometry.Parameters.Bits, GroupGeometry.TileRows, 4),
            OpAttributeValue.Ints("fallback_row_groups", -1, geometry.Groups, geometry.GroupSize),
            OpAttributeValue.Ints("fallback_output_end", k),
        };
        if (IsPadded(geometry))
        {
            values.Add(GroupFallback.Pads("fallback_row_pads", 0, grouped - ((long)geometry.Chunks * GroupGeometry.ChunkSize)));
            values.Add(GroupFallback.Pads("fallback_output_pads", 0, k - grouped));
            if (geometry.Parameters.ZeroPoint == ZeroPointKind.Integer)
            {
                values.Add(GroupFallback.Pads("fallback_group_pads", 0, geometry.Groups - ((long)geometry.ZeroPointBytes * geometry.ZeroPointsPerByte)));
            }
        }

        return values;
    }

    /// <summary>The body for one node; null where the model's opset has none.</summary>
    public static FunctionBody? Body(FallbackCall call)
    {
        if (call.Opset < GroupFallback.MinimumOpset) return null;
        var geometry = GroupFallback.GeometryOf(call);
        var isPadded = IsPadded(geometry);
        var body = new FunctionBodyBuilder();
        var rows = new RowReader(body);

        var codes = Codes(body, rows, geometry.Parameters.Bits);
        if (isPadded) codes = body.PadBy(codes, "fallback_row_pads");
        var q = body.Cast(body.Reshape(codes, body.IntsAttribute("fallback_row_groups")), ElementType.Float32);
        var scale = body.Unsqueeze(body.Cast(rows.Read("scales"), ElementType.Float32), 2);
        var zeroPoint = ZeroPoints(body, rows, geometry, isPadded);
        var weights = body.Flatten(body.Node("Mul", [scale, body.Node("Sub", [q, zeroPoint])]), 1);
        if (isPadded) weights = body.PadBy(weights, "fallback_output_pads");

        var shape = body.Node("Concat", [body.Node("Shape", ["indices"]), body.IntsAttribute("fallback_output_end")], [new ValueAttribute(OpAttributeValue.Int("axis", 0))]);
        var shaped = body.Node("Reshape", [weights, shape], [new ValueAttribute(OpAttributeValue.Int("allowzero", 1))]);
        body.Node("Cast", [shaped], [body.IntReference("to", "dtype")], output: "Y");

        var bits = $"{geometry.Parameters.Bits}bit";
        var variant = $"{GroupFallback.NameOf(geometry.Parameters.ZeroPoint)}_{bits}{(isPadded ? "_padded" : "")}";
        return body.Build(variant, ["indices", "W", "scales", "zero_points"], "Y");
    }

    private static string Codes(FunctionBodyBuilder body, RowReader rows, int bits)
    {
        var words = body.Reshape(rows.Tiles("W"), body.IntsAttribute("fallback_tile_words"));
        if (bits == 3)
        {
            var lane = rows.Lane(body.Transpose(words, 0, 3, 1, 2, 4));
            return GroupFallback.WidenThreeBits(body, body.Unsqueeze(lane, 4), wordAxis: 2);
        }

        var bytes = rows.Lane(body.Transpose(words, 0, 2, 1, 3));
        return bits == 8 ? body.Flatten(bytes, 1) : body.Flatten(GroupFallback.Fields(body, body.Unsqueeze(bytes, 3), bits), 1);
    }

    // Zero points of the gathered rows, to subtract from [rows, G, group size].
    private static string ZeroPoints(FunctionBodyBuilder body, RowReader rows, GroupGeometry geometry, bool isPadded)
    {
        if (geometry.Parameters.ZeroPoint == ZeroPointKind.None) return GroupFallback.ImplicitZeroPoint(body);
        var values = rows.Read("zero_points");
        if (geometry.Parameters.ZeroPoint == ZeroPointKind.Integer)
        {
            if (geometry.ZeroPointBits < 8) values = body.Flatten(GroupFallback.Fields(body, body.Unsqueeze(values, 2), geometry.ZeroPointBits), 1);
            if (isPadded) values = body.PadBy(values, "fallback_group_pads");
        }

        return body.Unsqueeze(body.Cast(values, ElementType.Float32), 2);
    }

    private static bool IsPadded(GroupGeometry geometry) =>
        geometry.Shape.K != (long)geometry.Groups * geometry.GroupSize
        || geometry.Shape.K != (long)geometry.Chunks * GroupGeometry.ChunkSize
        || geometry.Groups % geometry.ZeroPointsPerByte != 0;

    private static OpAttributeDescription Describe(string name, string summary) =>
        new(name, AttributeKind.Ints, summary, Required: false, FallbackOnly: true);

    /// <summary>Reads what belongs to the wanted rows out of tensors <c>[T, ...]</c> whose tiles interleave 16 rows.</summary>
    private sealed class RowReader
    {
        private readonly FunctionBodyBuilder _body;
        private readonly string _tiles;
        private readonly string _lanes;

        public RowReader(FunctionBodyBuilder body)
        {
            _body = body;
            var flat = body.Reshape(body.Cast("indices", ElementType.Int64), body.Ints(-1));

            // Mod takes the sign of the divisor, so that negative indices count from the end.
            var rows = body.Node("Mod", [flat, body.IntAttribute("N")]);
            var lanes = body.Int(GroupGeometry.TileRows);
            _tiles = body.Node("Div", [rows, lanes]);
            _lanes = body.Unsqueeze(body.Node("Mod", [rows, lanes]), 1);
        }

        /// <summary>The tiles of the rows: <c>[T, ...]</c> -> <c>[rows, ...]</c>.</summary>
        public string Tiles(string tensor) => _body.Node("Gather", [tensor, _tiles]);

        /// <summary>Their lanes: <c>[rows, 16, ...]</c> -> <c>[rows, ...]</c>.</summary>
        public string Lane(string tiles) => _body.Node("GatherND", [tiles, _lanes], [new ValueAttribute(OpAttributeValue.Int("batch_dims", 1))]);

        /// <summary>Both, for a tensor <c>[T, columns, 16]</c>: <c>[rows, columns]</c>.</summary>
        public string Read(string tensor) => Lane(_body.Transpose(Tiles(tensor), 0, 2, 1));
    }
}
