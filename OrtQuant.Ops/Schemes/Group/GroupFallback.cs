using OrtQuant.Descriptions;

namespace OrtQuant.Schemes.Group;

/// <summary>What the fallback bodies of both ops share: reading a call, and undoing the packing with ONNX ops.</summary>
internal static class GroupFallback
{
    /// <summary>From here on Add takes uint8 and Reshape has <c>allowzero</c>.</summary>
    public const int MinimumOpset = 14;

    /// <summary>Positions of the weights' inputs in both ops.</summary>
    public const int Scales = 2, ZeroPoints = 3;

    /// <summary>Geometry of the weight that a node holds, from its attributes and input types.</summary>
    public static GroupGeometry GeometryOf(FallbackCall call)
    {
        var zeroPoint = call.Input(ZeroPoints) switch
        {
            null => ZeroPointKind.None,
            ElementType.UInt8 => ZeroPointKind.Integer,
            _ => ZeroPointKind.Float,
        };
        var parameters = new GroupParameters((int)call.Int("bits"), (int)call.Int("block_size"), zeroPoint, call.Input(Scales) ?? ElementType.Float32);
        return new GroupGeometry(new WeightShape(call.Int("N"), call.Int("K")), parameters);
    }

    /// <summary>How variants of a body are named after the zero points.</summary>
    public static string NameOf(ZeroPointKind kind) => kind switch
    {
        ZeroPointKind.None => "symmetric",
        ZeroPointKind.Integer => "integer",
        _ => "float",
    };

    /// <summary>Fields of <paramref name="width"/> bits of uint8 <c>[..., 1]</c> as <c>[..., 8 / width]</c>, lowest first.</summary>
    public static string Fields(FunctionBodyBuilder body, string bytes, int width)
    {
        var shifts = new long[8 / width];
        for (var i = 0; i < shifts.Length; i++) shifts[i] = 8 - width - (width * i);
        return body.ShiftRight(body.ShiftLeft(bytes, body.Bytes(shifts)), body.Bytes(8 - width));
    }

    /// <summary>
    /// Codes of 3 bits, one a byte: from the words of chunks, uint8 <c>[..., C, 3, 4, 1]</c> (two words of low bits, one of high
    /// bits), to <c>[rows, C * 32]</c>. Field i of byte j of low word v, and bit 4 v + i of byte j of the high word, are k = 16 v + 4 j + i.
    /// </summary>
    /// <param name="body">Where the nodes go.</param>
    /// <param name="words">The words.</param>
    /// <param name="wordAxis">Their axis of length 3; the axes before the one in front of it become the rows.</param>
    public static string WidenThreeBits(FunctionBodyBuilder body, string words, int wordAxis)
    {
        var low = Fields(body, body.Slice(words, 0, 2, wordAxis), 2);
        var highShifts = body.Reshape(body.Bytes(7, 6, 5, 4, 3, 2, 1, 0), body.Ints(2, 1, 4));
        var high = body.ShiftRight(body.ShiftLeft(body.Slice(words, 2, 3, wordAxis), highShifts), body.Bytes(7));
        return body.Flatten(body.Node("Add", [low, body.ShiftLeft(high, body.Bytes(2))]), wordAxis - 1);
    }

    /// <summary>The zero point of a format without zero points, 2^(bits - 1), as a float scalar.</summary>
    public static string ImplicitZeroPoint(FunctionBodyBuilder body)
    {
        var bits = body.Cast(body.IntAttribute("bits"), ElementType.Float32);
        return body.Node("Mul", [body.Node("Pow", [body.Float(2), bits]), body.Float(0.5f)]);
    }

    /// <summary>Zeros appended to (or, negative, elements taken from) the ends of a matrix: ONNX <c>pads</c>.</summary>
    public static OpAttributeValue Pads(string name, long rows, long columns) => OpAttributeValue.Ints(name, 0, 0, rows, columns);
}
