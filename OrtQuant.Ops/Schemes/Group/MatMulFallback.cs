using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Group;

/// <summary>
/// The body of <c>ortquant::MatMulNBits</c>: rows back in order, then <c>com.microsoft::MatMulNBits</c>. Everything before that
/// node depends on constants only, so ONNX Runtime folds it when it loads the model. What that op cannot do is brought to what it can:
/// 3 bits are widened to 8, the scales of groups above 128 and of whole rows are repeated, and
/// float zero points are taken as 2^(bits - 1) and corrected by (block sums of X) . (scale * (zp - 2^(bits - 1)))^T.
/// </summary>
internal static class MatMulFallback
{
    // Groups larger than this, and whole rows, are cut into blocks of it. It is the largest run of activations that the int8
    // kernels quantize with one scale, so that both round the same; that op itself takes blocks of up to 256.
    private const int LargestBlock = 128;

    private const int Bias = 4, LowRank = 5;

    public static IReadOnlyList<OpAttributeDescription> Attributes { get; } =
    [
        Describe("fallback_block_size", AttributeKind.Int, "Block size of com.microsoft::MatMulNBits."),
        Describe("fallback_codes_shape", AttributeKind.Ints, "Shape of its weight, [N, blocks, bytes of a block]."),
        Describe("fallback_codes_pads", AttributeKind.Ints, "From whole tiles and chunks to that shape, as ONNX pads."),
        Describe("fallback_scale_pads", AttributeKind.Ints, "From the groups of whole tiles to [N, blocks], as ONNX pads."),
        Describe("fallback_zero_point_pads", AttributeKind.Ints, "From the stored zero points of whole tiles to what that op takes, as ONNX pads."),
        Describe("fallback_repeat", AttributeKind.Ints, "Blocks to a group, [1, 1, r]."),
        Describe("fallback_sum_groups", AttributeKind.Ints, "Shape of X by groups, [-1, G, group size]; with float zero points."),
        Describe("fallback_sum_rows", AttributeKind.Ints, "Shape of X as a matrix, [-1, K]."),
        Describe("fallback_sum_pads", AttributeKind.Ints, "From K to whole groups, as ONNX pads."),
        Describe("fallback_correction_pads", AttributeKind.Ints, "From the outputs of whole tiles to N, as ONNX pads."),
    ];

    /// <summary>Values of the attributes that <see cref="Body"/> reads for such a weight.</summary>
    public static IReadOnlyList<OpAttributeValue> Values(GroupGeometry geometry)
    {
        var form = new Form(geometry);
        var (n, k) = (geometry.Shape.N, geometry.Shape.K);
        var spareRows = n - ((long)geometry.Tiles * GroupGeometry.TileRows);
        var blockBytes = form.Block * form.Bits / 8;
        var values = new List<OpAttributeValue>
        {
            OpAttributeValue.Int("fallback_block_size", form.Block),
            OpAttributeValue.Ints("fallback_codes_shape", n, form.Blocks, blockBytes),
        };
        if (form.Kind != FormKind.Direct)
        {
            var rowBytes = (long)geometry.Chunks * GroupGeometry.ChunkSize * form.Bits / 8;
            values.Add(GroupFallback.Pads("fallback_codes_pads", spareRows, (form.Blocks * blockBytes) - rowBytes));
            values.Add(GroupFallback.Pads("fallback_scale_pads", spareRows, form.Blocks - (geometry.Groups * form.Repeat)));
        }

        if (form.Kind == FormKind.Repeated) values.Add(OpAttributeValue.Ints("fallback_repeat", 1, 1, form.Repeat));
        if (geometry.Parameters.ZeroPoint == ZeroPointKind.Integer && (form.RepacksZeroPoints || form.Kind != FormKind.Direct))
        {
            var columns = form.RepacksZeroPoints
                ? RoundUp(form.Blocks, 8 / form.Bits) - ((long)geometry.ZeroPointBytes * geometry.ZeroPointsPerByte * form.Repeat)
                : 0;
            values.Add(GroupFallback.Pads("fallback_zero_point_pads", spareRows, columns));
        }

        if (geometry.Parameters.ZeroPoint == ZeroPointKind.Float)
        {
            values.Add(OpAttributeValue.Ints("fallback_sum_groups", -1, geometry.Groups, geometry.GroupSize));
            if (form.Kind != FormKind.Direct)
            {
                values.Add(OpAttributeValue.Ints("fallback_sum_rows", -1, k));
                values.Add(GroupFallback.Pads("fallback_sum_pads", 0, ((long)geometry.Groups * geometry.GroupSize) - k));
                values.Add(GroupFallback.Pads("fallback_correction_pads", 0, spareRows));
            }
        }

        return values;
    }

    /// <summary>The body for one node; null where the model's opset has none.</summary>
    public static FunctionBody? Body(FallbackCall call)
    {
        var type = call.Input(0) ?? ElementType.Undefined;
        if (call.Opset < GroupFallback.MinimumOpset || (type != ElementType.Float32 && !CanCastBack(call.Opset, type))) return null;

        var geometry = GroupFallback.GeometryOf(call);
        var form = new Form(geometry);
        var body = new FunctionBodyBuilder();
        var isFloat = type == ElementType.Float32;
        var hasBias = call.Input(Bias) is not null;
        var hasLowRank = call.Input(LowRank) is not null;

        string ToFloat(string value) => isFloat ? value : body.Cast(value, ElementType.Float32);
        var x = ToFloat("X");
        var kind = geometry.Parameters.ZeroPoint;
        var codes = Codes(body, form, offset: kind != ZeroPointKind.Integer);
        var scales = Scales(body, form);
        var zeroPoints = kind == ZeroPointKind.Integer ? IntegerZeroPoints(body, form) : "";
        var bias = isFloat ? "bias" : hasBias ? ToFloat("bias") : "";
        var y = Multiply(body, form, [x, codes, scales, zeroPoints, "", bias]);
        if (kind == ZeroPointKind.Float) y = CorrectZeroPoints(body, form, x, y);
        if (hasLowRank)
        {
            var projected = body.Node("MatMul", [x, ToFloat("low_rank_a")]);
            y = body.Node("Add", [y, body.Node("MatMul", [projected, ToFloat("low_rank_b")])]);
        }

        WriteOutput(body, call.Opset, type, y);
        string[] inputs = ["X", "W", "scales", "zero_points", "bias", "low_rank_a", "low_rank_b"];

        // com.microsoft::MatMulNBits computes 2 bits in groups of 16 in float; the correction for float zero points reads X itself.
        var isExact = kind == ZeroPointKind.Float || (form.Bits == 2 && form.Block == 16);
        return body.Build(VariantOf(call, form, hasBias, hasLowRank), inputs[..(hasLowRank ? 7 : 5)], "Y") with { RoundsActivations = !isExact };
    }

    /// <summary>
    /// X . W^T with X as it is, for another scheme that holds its weights as this one does, without zero points: <see cref="Values"/> are attributes of its nodes.
    /// </summary>
    internal static string FloatProduct(FunctionBodyBuilder body, GroupGeometry geometry, string x)
    {
        var form = new Form(geometry);
        var bits = new ValueAttribute(OpAttributeValue.Int("bits", form.Bits));
        var level = new ValueAttribute(OpAttributeValue.Int("accuracy_level", 1));
        return Multiply(body, form, [x, Codes(body, form, offset: true), Scales(body, form)], bits, level);
    }

    /// <summary>What of a geometry a body depends on, as part of a variant's name; empty for the plainest.</summary>
    internal static string VariantOf(GroupGeometry geometry) => new Form(geometry).Kind switch
    {
        FormKind.Padded => "padded",
        FormKind.Repeated => "repeated",
        _ => "",
    };

    private static string VariantOf(FallbackCall call, Form form, bool hasBias, bool hasLowRank)
    {
        var kind = form.Geometry.Parameters.ZeroPoint;
        var parts = new List<string> { GroupFallback.NameOf(kind) };
        if (form.Geometry.Parameters.Bits == 3) parts.Add("3bit");
        else if (kind == ZeroPointKind.Integer && form.RepacksZeroPoints) parts.Add($"{form.Bits}bit");
        if (form.Kind != FormKind.Direct) parts.Add(form.Kind == FormKind.Padded ? "padded" : "repeated");
        if (call.Input(0) != ElementType.Float32)
        {
            parts.Add(call.Opset >= CastLikeOpset ? "cast" : "float16");
            if (hasBias) parts.Add("bias");
        }

        if (hasLowRank) parts.Add("low_rank");
        return string.Join('_', parts);
    }

    // Codes as com.microsoft::MatMulNBits stores them. A stored tile is 16 of its rows, their 4-byte words interleaved.
    private static string Codes(FunctionBodyBuilder body, Form form, bool offset)
    {
        var shape = body.IntsAttribute("fallback_codes_shape");
        string rows;
        if (form.Geometry.Parameters.Bits == 3)
        {
            // [T, C, 3 words, 16 lanes, 4 bytes] -> [T, lane, C, word, byte, 1]
            var words = body.Transpose(body.Reshape("W", body.Ints(0, -1, 3, 16, 4)), 0, 3, 1, 2, 4);
            rows = GroupFallback.WidenThreeBits(body, body.Unsqueeze(words, 5), wordAxis: 3);
            // Without zero points that op takes 128 where this format takes 4.
            if (offset) rows = body.Node("Add", [rows, body.Bytes(128 - 4)]);
        }
        else
        {
            var words = body.Transpose(body.Reshape("W", body.Ints(0, -1, 16, 4)), 0, 2, 1, 3);
            if (form.Kind == FormKind.Direct) return body.Reshape(words, shape);
            rows = body.Flatten(words, 2);
        }

        return body.Reshape(form.Kind == FormKind.Direct ? rows : body.PadBy(rows, "fallback_codes_pads"), shape);
    }

    private static string Scales(FunctionBodyBuilder body, Form form)
    {
        var scales = body.Flatten(body.Cast(body.Transpose("scales", 0, 2, 1), ElementType.Float32), 2);
        if (form.Kind == FormKind.Direct) return scales;
        if (form.Kind == FormKind.Repeated) scales = Repeat(body, scales);
        return body.PadBy(scales, "fallback_scale_pads");
    }

    private static string IntegerZeroPoints(FunctionBodyBuilder body, Form form)
    {
        var rows = body.Flatten(body.Transpose("zero_points", 0, 2, 1), 2);
        if (!form.RepacksZeroPoints) return form.Kind == FormKind.Direct ? rows : body.PadBy(rows, "fallback_zero_point_pads");

        var stored = form.Geometry.ZeroPointBits;
        if (stored < 8) rows = body.Flatten(GroupFallback.Fields(body, body.Unsqueeze(rows, 2), stored), 1);
        if (form.Kind == FormKind.Repeated) rows = Repeat(body, rows);
        rows = body.PadBy(rows, "fallback_zero_point_pads");
        if (form.Bits == 8) return rows;

        var fields = 8 / form.Bits;
        var weights = new long[fields];
        for (var i = 0; i < fields; i++) weights[i] = 1L << (form.Bits * i);
        var wide = body.Cast(body.Reshape(rows, body.Ints(0, -1, fields)), ElementType.Int32);
        var placed = body.Node("Mul", [wide, body.Cast(body.Ints(weights), ElementType.Int32)]);
        var sum = body.Node("ReduceSum", [placed, body.Ints(-1)], [new ValueAttribute(OpAttributeValue.Int("keepdims", 0))]);
        return body.Cast(sum, ElementType.UInt8);
    }

    // Each column r times over: [rows, groups] -> [rows, groups * r].
    private static string Repeat(FunctionBodyBuilder body, string rows) =>
        body.Flatten(body.Node("Expand", [body.Unsqueeze(rows, 2), body.IntsAttribute("fallback_repeat")]), 1);

    private static string Multiply(FunctionBodyBuilder body, Form form, IReadOnlyList<string> inputs)
    {
        FunctionAttribute bits = form.Geometry.Parameters.Bits == 3
            ? new ValueAttribute(OpAttributeValue.Int("bits", 8))
            : body.IntReference("bits", "bits");
        return Multiply(body, form, inputs, bits, body.IntReference("accuracy_level", "accuracy_level"));
    }

    private static string Multiply(FunctionBodyBuilder body, Form form, IReadOnlyList<string> inputs, FunctionAttribute bits, FunctionAttribute level)
    {
        FunctionAttribute[] attributes = [body.IntReference("K", "K"), body.IntReference("N", "N"), bits, body.IntReference("block_size", "fallback_block_size"), level];
        var last = inputs.Count;
        while (inputs[last - 1].Length == 0) last--;
        return body.Node("MatMulNBits", [.. inputs.Take(last)], attributes, "com.microsoft");
    }

    private static string CorrectZeroPoints(FunctionBodyBuilder body, Form form, string x, string y)
    {
        var offset = body.Node("Sub", [body.Cast("zero_points", ElementType.Float32), GroupFallback.ImplicitZeroPoint(body)]);
        var correction = body.Node("Mul", [body.Cast("scales", ElementType.Float32), offset]);
        correction = body.Flatten(body.Transpose(correction, 1, 0, 2), 1);
        var rows = x;
        if (form.Kind != FormKind.Direct)
        {
            correction = body.PadBy(correction, "fallback_correction_pads");
            rows = body.PadBy(body.Reshape(x, body.IntsAttribute("fallback_sum_rows")), "fallback_sum_pads");
        }

        var groups = body.Reshape(rows, body.IntsAttribute("fallback_sum_groups"));
        var sums = body.Node("ReduceSum", [groups, body.Ints(2)], [new ValueAttribute(OpAttributeValue.Int("keepdims", 0))]);
        var product = body.Node("MatMul", [sums, correction]);
        var shaped = body.Node("Reshape", [product, body.Node("Shape", [y])], [new ValueAttribute(OpAttributeValue.Int("allowzero", 1))]);
        return body.Node("Sub", [y, shaped]);
    }

    private const int CastLikeOpset = 15;

    private static bool CanCastBack(int opset, ElementType type) => opset >= CastLikeOpset || type == ElementType.Float16;

    private static void WriteOutput(FunctionBodyBuilder body, int opset, ElementType type, string y)
    {
        if (type == ElementType.Float32) body.Node("Identity", [y], output: "Y");
        else if (opset >= CastLikeOpset) body.Node("CastLike", [y, "X"], output: "Y");
        else body.Node("Cast", [y], [new ValueAttribute(OpAttributeValue.Int("to", (long)type))], output: "Y");
    }

    private static long RoundUp(long value, long multiple) => (value + multiple - 1) / multiple * multiple;

    private static OpAttributeDescription Describe(string name, AttributeKind kind, string summary) =>
        new(name, kind, summary, Required: false, FallbackOnly: true);

    private enum FormKind
    {
        /// <summary>Whole tiles, chunks and blocks: rows are used as they come.</summary>
        Direct,

        /// <summary>Rows have padding to take off or to add.</summary>
        Padded,

        /// <summary>A group is several blocks; padding too.</summary>
        Repeated,
    }

    /// <summary>The weight as com.microsoft::MatMulNBits is to see it.</summary>
    private sealed class Form
    {
        public Form(GroupGeometry geometry)
        {
            Geometry = geometry;
            var size = geometry.GroupSize;
            var isBlock = geometry.Parameters.GroupSize != GroupParameters.WholeRow && size <= LargestBlock;
            Block = isBlock ? size : LargestBlock;
            Blocks = (geometry.Shape.K + Block - 1) / Block;
            Repeat = isBlock ? 1 : geometry.Groups == 1 ? Blocks : size / Block;
            var whole = geometry.Shape.N % GroupGeometry.TileRows == 0 && (long)geometry.Chunks * GroupGeometry.ChunkSize == Blocks * Block
                && geometry.Shape.K == (long)geometry.Groups * size;
            Kind = Repeat > 1 ? FormKind.Repeated : whole ? FormKind.Direct : FormKind.Padded;
        }

        public GroupGeometry Geometry { get; }

        public FormKind Kind { get; }

        /// <summary>Width of a code there.</summary>
        public int Bits => Geometry.Parameters.Bits == 3 ? 8 : Geometry.Parameters.Bits;

        public long Block { get; }

        public long Blocks { get; }

        /// <summary>Blocks to a group.</summary>
        public long Repeat { get; }

        /// <summary>Whether integer zero points change their width or number.</summary>
        public bool RepacksZeroPoints => Repeat > 1 || Geometry.Parameters.Bits == 3;
    }
}
