using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Matching;

/// <summary>
/// Patterns that read like the graph they match: <c>Node("MatMul", Activation("X"), Constant("W"))</c> is a MatMul of a
/// computed value by a constant. A pattern matches a value (a node pattern: the node that produces it), binds names, and where it does
/// not match says why.
/// </summary>
internal abstract class Pattern
{
    /// <summary>A node of this type in domain ai.onnx with these inputs, bound to its op type.</summary>
    internal static NodePattern Node(string opType, params Pattern[] inputs) => new(opType, "", inputs);

    /// <summary>Any value that is not a constant.</summary>
    internal static Pattern Activation(string name) => new ActivationPattern(name);

    /// <summary>A constant, directly or behind Transpose, Cast, Identity, Reshape, Squeeze, Unsqueeze.</summary>
    internal static Pattern Constant(string name) => new ConstantPattern(name);

    /// <summary>Any value; bound as a constant too where it is one.</summary>
    internal static Pattern Any(string name) => new AnyPattern(name);

    /// <summary>An input that may be absent.</summary>
    internal static Pattern Optional(Pattern inner) => new OptionalPattern(inner);

    /// <summary>Exactly this value.</summary>
    internal static Pattern Is(OnnxValue value) => new ExactPattern(value);

    /// <summary>Matches a value, or the absence of an input (<c>null</c>).</summary>
    /// <returns>Null on success, else why not. What was bound before a failure is meaningless.</returns>
    internal abstract Mismatch? Match(OnnxValue? value, Bindings bindings);

    private sealed class ActivationPattern(string name) : Pattern
    {
        internal override Mismatch? Match(OnnxValue? value, Bindings bindings)
        {
            if (value is null) return Mismatch.NotAWeight($"input {name} is absent");
            if (ConstantView.IsConstant(value)) return Mismatch.LeftAlone($"constant on the {name} side, which must be an activation");
            bindings.Bind(name, value);
            return null;
        }
    }

    private sealed class ConstantPattern(string name) : Pattern
    {
        internal override Mismatch? Match(OnnxValue? value, Bindings bindings)
        {
            if (value is null) return Mismatch.NotAWeight($"input {name} is absent");
            var view = ConstantView.Trace(value, out var mismatch);
            if (view is null) return mismatch;
            bindings.Bind(name, view);
            bindings.Bind(name, value);
            return null;
        }
    }

    private sealed class AnyPattern(string name) : Pattern
    {
        internal override Mismatch? Match(OnnxValue? value, Bindings bindings)
        {
            if (value is null) return Mismatch.NotAWeight($"input {name} is absent");
            if (ConstantView.Trace(value, out _) is { } view) bindings.Bind(name, view);
            bindings.Bind(name, value);
            return null;
        }
    }

    private sealed class OptionalPattern(Pattern inner) : Pattern
    {
        internal override Mismatch? Match(OnnxValue? value, Bindings bindings) =>
            value is null ? null : inner.Match(value, bindings);
    }

    private sealed class ExactPattern(OnnxValue expected) : Pattern
    {
        internal override Mismatch? Match(OnnxValue? value, Bindings bindings) =>
            ReferenceEquals(value, expected) ? null : Mismatch.NotAWeight($"input is not {expected.Name}");
    }
}

/// <summary>A node of one op type whose inputs match in turn.</summary>
internal sealed class NodePattern(string opType, string domain, IReadOnlyList<Pattern> inputs) : Pattern
{
    private bool _commutative;

    internal string OpType => opType;

    /// <summary>The same pattern, whose two inputs may come in either order.</summary>
    internal NodePattern EitherOrder() => new(opType, domain, inputs) { _commutative = true };

    /// <summary>The same pattern in another operator domain.</summary>
    internal NodePattern In(string otherDomain) => new(opType, otherDomain, inputs) { _commutative = _commutative };

    /// <summary>Matches a node and its inputs.</summary>
    internal MatchResult Match(OnnxNode node)
    {
        var bindings = new Bindings();
        var mismatch = Match(node, bindings);
        return mismatch is null ? MatchResult.Matched(bindings) : MatchResult.Failed(mismatch);
    }

    internal override Mismatch? Match(OnnxValue? value, Bindings bindings) =>
        value?.Producer is { } producer ? Match(producer, bindings) : Mismatch.NotAWeight($"no {opType} produces it");

    private Mismatch? Match(OnnxNode node, Bindings bindings)
    {
        if (node.OpType != opType || node.Domain != domain) return Mismatch.NotAWeight($"{node.OpType} is no {opType}");
        if (node.Inputs.Count > inputs.Count)
        {
            return Mismatch.NotAWeight($"{node.OpType} has {node.Inputs.Count} inputs; it may have at most {inputs.Count}");
        }

        var mismatch = MatchInputs(node, bindings, swapped: false);
        if (mismatch is not null && _commutative)
        {
            var other = new Bindings();
            if (MatchInputs(node, other, swapped: true) is null)
            {
                bindings.CopyFrom(other);
                mismatch = null;
            }
        }

        if (mismatch is null) bindings.Bind(opType, node);
        return mismatch;
    }

    /// <summary>
    /// Every input is looked at before the node is given up: a constant input that cannot be used is worth reporting, but only
    /// beside inputs that match; two activations are no weight, whatever else is wrong.
    /// </summary>
    private Mismatch? MatchInputs(OnnxNode node, Bindings bindings, bool swapped)
    {
        Mismatch? leftAlone = null;
        Mismatch? notAWeight = null;
        for (var i = 0; i < inputs.Count; i++)
        {
            var index = swapped ? inputs.Count - 1 - i : i;
            var value = index < node.Inputs.Count ? node.Inputs[index] : null;
            var mismatch = inputs[i].Match(value, bindings);
            if (mismatch?.Kind == MismatchKind.LeftAlone) leftAlone ??= mismatch;
            if (mismatch?.Kind == MismatchKind.NotAWeight) notAWeight ??= mismatch;
        }

        return leftAlone ?? notAWeight;
    }
}
