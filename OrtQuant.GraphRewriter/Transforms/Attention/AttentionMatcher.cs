using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Transforms.Shapes;

namespace OrtQuant.GraphRewriter.Transforms.Attention;

/// <summary>
/// Finds the attention of decoders as exporters write it, around its softmax: heads cut out of query, key and value, rotary embedding, Concat
/// with the past, heads repeated, scores, mask, softmax, values, heads joined. Anything that is not exactly that is left alone, with the reason.
/// </summary>
internal sealed class AttentionMatcher(ShapeInference facts)
{
    private static readonly long[] HeadsFirst = [0, 2, 1, 3];
    private static readonly long[] LastTwoSwapped = [0, 1, 3, 2];

    /// <exception cref="NoAttentionException">It is something else; the message says what.</exception>
    internal AttentionMatch Match(OnnxNode softmax)
    {
        if (softmax.GetInt("axis", -1) is not (-1 or 3)) throw No($"softmax goes along axis {softmax.GetInt("axis", -1)}, not the last");
        var (mix, isGuarded) = Mix(softmax);
        var join = Join(mix);
        var (scores, bias) = Masked(softmax);
        var (query, keys, scale) = Scores(scores);
        var presentKey = Cache(Transposed(Plain(keys), LastTwoSwapped, "keys"));
        var presentValue = Cache(Plain(mix.Inputs[1]!));
        var (pastKey, newKey) = Grown(presentKey);
        var (pastValue, newValue) = Grown(presentValue);
        var rotary = RotaryMatch.Find(query);
        var keyRotary = RotaryMatch.Find(newKey);
        if (rotary?.Cos != keyRotary?.Cos || rotary?.Sin != keyRotary?.Sin) throw No("query and key turn by different angles");
        var (q, heads, size) = Heads(rotary?.Input ?? query);
        var (k, cachedHeads, keySize) = Heads(keyRotary?.Input ?? newKey);
        var (v, valueHeads, valueSize) = Heads(newValue);
        if (keySize != size || valueSize != size || valueHeads != cachedHeads || heads % cachedHeads != 0)
        {
            throw No($"{heads} heads of {size} read {cachedHeads} of {keySize} and {valueHeads} of {valueSize}");
        }

        var (cos, sin, rotarySize) = Angles(rotary, size);
        return new AttentionMatch(softmax, q, k, v, pastKey, pastValue, presentKey, presentValue, MaskOf(bias, isGuarded), cos, sin, Joined(join, q), heads, cachedHeads, size, rotarySize, scale);
    }

    private static NoAttentionException No(string reason) => new(reason);

    /// <summary>The product with the values, and whether rows that attend to nothing are made zero before.</summary>
    private static (OnnxNode Mix, bool IsGuarded) Mix(OnnxNode softmax)
    {
        var p = softmax.Outputs[0]!;
        var guard = p.Uses.Select(use => use.Node).FirstOrDefault(node => node.OpType == "IsNaN");
        if (guard is not null)
        {
            var zeroed = Only(guard.Outputs[0]!);
            if (zeroed is not { OpType: "Where" } || zeroed.Inputs[2] != p || p.Uses.Count != 2 || Scalar(zeroed.Inputs[1]) is not 0) throw No("NaN of the softmax is replaced in an unknown way");
            p = zeroed.Outputs[0]!;
        }

        var next = Only(p);
        if (next is { OpType: "Cast" }) next = Only(next.Outputs[0]!);
        return next is { OpType: "MatMul", Domain.Length: 0 } && Plain(next.Inputs[0]) == Plain(p)
            ? (next, guard is not null)
            : throw No("its output is not multiplied with values");
    }

    private static OnnxNode Join(OnnxNode mix)
    {
        var next = Only(mix.Outputs[0]!);
        if (next is { OpType: "Cast" }) next = Only(next.Outputs[0]!);
        if (next is not { OpType: "Transpose" } || next.GetInts("perm")?.SequenceEqual(HeadsFirst) != true) throw No("heads are not moved behind tokens");
        return Only(next.Outputs[0]!) is { OpType: "Reshape", Domain.Length: 0 } reshape && reshape.GetInt("allowzero", 0) == 0 ? reshape : throw No("heads are not joined by a Reshape");
    }

    /// <summary>What the layer goes on with, which is [batch, tokens, heads * size] of the query.</summary>
    private OnnxValue Joined(OnnxNode reshape, OnnxValue query)
    {
        var joined = reshape.Outputs[0]!;
        if (facts.Of(query).Shape is not [var batch, var tokens, _]) throw No($"the shape of '{query.Name}' is not known");
        if (facts.Of(joined).Shape is [var b, var s, _] && b.Equals(batch) && s.Equals(tokens)) return joined;
        return facts.ContentOf(reshape, 1)?.Elements is [{ } first, { } second, _] && Keeps(first, batch) && Keeps(second, tokens)
            ? joined
            : throw No("it is not known that joined heads are [batch, tokens, heads * size]");

        static bool Keeps(SymbolicSize target, SymbolicSize size) => target.Value == 0 || target.Equals(size);
    }

    private static (OnnxValue Scores, OnnxValue Mask) Masked(OnnxNode softmax)
    {
        if (Plain(softmax.Inputs[0]).Producer is not { OpType: "Add", Domain.Length: 0 } add) throw No("no mask is added before it");
        var (a, b) = (Plain(add.Inputs[0]), Plain(add.Inputs[1]));
        if (IsScores(a)) return (a, add.Inputs[1]!);
        return IsScores(b) ? (b, add.Inputs[0]!) : throw No("it is not of a product with keys");

        static bool IsScores(OnnxValue value) => value.Producer is { OpType: "MatMul" or "Mul" or "Div", Domain.Length: 0 } node
            && (node.OpType == "MatMul" || Scalar(node.Inputs[1]) is not null || Scalar(node.Inputs[0]) is not null);
    }

    private (OnnxValue Query, OnnxValue Keys, float Scale) Scores(OnnxValue scores)
    {
        var scale = 1.0;
        var product = Unscaled(scores, ref scale);
        if (product.Producer is not { OpType: "MatMul", Domain.Length: 0 } matmul) throw No("its scores are no product with keys");
        if (facts.Shape(matmul, 0) is not [_, _, _, _]) throw No("the query is not known to be [batch, heads, tokens, size]");
        var query = Unscaled(matmul.Inputs[0]!, ref scale);
        var keys = Unscaled(matmul.Inputs[1]!, ref scale);
        return (query, keys, (float)scale);
    }

    /// <summary>What is scaled, through any number of multiplications and divisions by constants.</summary>
    private static OnnxValue Unscaled(OnnxValue value, ref double scale)
    {
        for (value = Plain(value); value.Producer is { Domain.Length: 0, OpType: "Mul" or "Div" } node; value = Plain(value))
        {
            if (Scalar(node.Inputs[1]) is { } second)
            {
                scale = node.OpType == "Mul" ? scale * second : scale / second;
                value = node.Inputs[0]!;
            }
            else if (node.OpType == "Mul" && Scalar(node.Inputs[0]) is { } first)
            {
                scale *= first;
                value = node.Inputs[1]!;
            }
            else
            {
                break;
            }
        }

        return value;
    }

    private static OnnxValue Transposed(OnnxValue value, long[] permutation, string what) =>
        value.Producer is { OpType: "Transpose", Domain.Length: 0 } node && node.GetInts("perm")?.SequenceEqual(permutation) == true
            ? Plain(node.Inputs[0])
            : throw No($"{what} are not transposed by [{string.Join(", ", permutation)}]");

    /// <summary>The cache, from what is left of it when each head has been repeated.</summary>
    private OnnxValue Cache(OnnxValue value)
    {
        if (value.Producer is not { OpType: "Reshape", Domain.Length: 0 } reshape) return value;
        if (Plain(reshape.Inputs[0]).Producer is not { OpType: "Expand", Domain.Length: 0 } expand) throw No("cached heads are rearranged in an unknown way");
        if (Plain(expand.Inputs[0]).Producer is not { OpType: "Unsqueeze", Domain.Length: 0 } unsqueeze || facts.Axes(unsqueeze, 1) is not [2]) throw No("cached heads are not repeated one by one");
        return Plain(unsqueeze.Inputs[0]);
    }

    private (OnnxValue Past, OnnxValue New) Grown(OnnxValue present)
    {
        if (present.Producer is not { OpType: "Concat", Domain.Length: 0, Inputs: [{ } past, { } added] } concat || concat.GetInt("axis", 0) is not (-2 or 2)) throw No("keys or values are not appended to a past");
        return facts.Of(past).Shape is [_, _, _, _] ? (past, added) : throw No($"the past '{past.Name}' is not known to be [batch, heads, past, size]");
    }

    /// <summary>What heads are cut out of: [batch, tokens, heads * size].</summary>
    private (OnnxValue Activations, long Heads, long Size) Heads(OnnxValue value)
    {
        if (Plain(value).Producer is not { OpType: "Transpose", Domain.Length: 0 } transpose || transpose.GetInts("perm")?.SequenceEqual(HeadsFirst) != true) throw No("heads are not moved before tokens");
        if (Plain(transpose.Inputs[0]).Producer is not { OpType: "Reshape", Domain.Length: 0 } reshape) throw No("heads are not cut out by a Reshape");
        if (facts.Of(reshape.Outputs[0]!).Shape is not [var batch, var tokens, { Value: { } heads }, { Value: { } size }]) throw No("number and size of heads are not known");
        return facts.Shape(reshape, 0) is [var b, var s, { Value: { } width }] && b.Equals(batch) && s.Equals(tokens) && width == heads * size
            ? (reshape.Inputs[0]!, heads, size)
            : throw No("heads are cut out of something that is not known to be [batch, tokens, heads * size]");
    }

    private (OnnxValue? Cos, OnnxValue? Sin, long Size) Angles(RotaryMatch? rotary, long headSize)
    {
        if (rotary is null) return default;
        foreach (var angles in new[] { rotary.Cos, rotary.Sin })
        {
            if (facts.Of(angles).Shape is not [_, { Value: 1 }, _, var width]) throw No($"angles '{angles.Name}' are not known to be [batch, 1, tokens, rotary size]");
            if (width.Value is { } known && known != rotary.Half * 2) throw No($"there are {known} angles for {rotary.Half * 2} numbers of a head");
        }

        var size = rotary.Half * 2;
        return rotary.IsPartial == size < headSize ? (rotary.Cos, rotary.Sin, size) : throw No($"{size} of {headSize} numbers of a head turn");
    }

    /// <summary>The boolean mask where rows without any true give zeros here and there, else what is added.</summary>
    private OnnxValue MaskOf(OnnxValue bias, bool isGuarded)
    {
        var mask = bias;
        if (isGuarded && Plain(bias).Producer is { OpType: "Where", Domain.Length: 0 } where && Scalar(where.Inputs[1]) is 0 && Scalar(where.Inputs[2]) is float.NegativeInfinity) mask = where.Inputs[0]!;
        else if (isGuarded) throw No("NaN of the softmax is replaced, and the mask is not 0 or -infinity");
        return facts.Of(mask).Shape is [_, _, _, _] ? mask : throw No($"the mask '{mask.Name}' is not known to have four dimensions");
    }

    /// <summary>The only reader; null where there are others, or the value is an output.</summary>
    private static OnnxNode? Only(OnnxValue value) => value is { IsGraphOutput: false, Uses: [var use] } ? use.Node : null;

    /// <summary>The value that Casts and Identities lead to. Types in between do not matter: the operator computes in float32.</summary>
    internal static OnnxValue Plain(OnnxValue? value)
    {
        while (value!.Producer is { OpType: "Cast" or "Identity", Domain.Length: 0, Inputs: [{ } input] } node && (node.OpType == "Identity" || IsWideFloat(node))) value = input;
        return value;
    }

    private static bool IsWideFloat(OnnxNode cast) => (ElementType)cast.GetInt("to", 0) is ElementType.Float32 or ElementType.Float16;

    /// <summary>A constant of one float element, behind Cast and Sqrt.</summary>
    private static float? Scalar(OnnxValue? value)
    {
        if (value is null) return null;
        var root = Plain(value);
        if (root.Producer is { OpType: "Sqrt", Domain.Length: 0 } sqrt) return Scalar(sqrt.Inputs[0]) is { } square ? MathF.Sqrt(square) : null;
        if (root.Constant is not { Count: 1 } tensor || !tensor.Type.IsFloat() || tensor.Type == ElementType.Float64) return null;
        var element = new float[1];
        FloatBytes.Decode(tensor.Type, tensor.ReadBytes(), element);
        return element[0];
    }
}
