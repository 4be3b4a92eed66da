namespace OrtQuant.GraphRewriter.Matching;

/// <summary>What a non-match means for the user.</summary>
internal enum MismatchKind
{
    /// <summary>The node is simply something else, such as attention's MatMul of two activations: nothing to report.</summary>
    NotAWeight,

    /// <summary>The node multiplies by a constant but cannot be rewritten: it is listed with the reason.</summary>
    LeftAlone,
}

/// <summary>Why a pattern did not match.</summary>
/// <param name="Kind">Whether the user hears of it.</param>
/// <param name="Reason">One clause with the actual and the permitted value, for example <c>weight is int32; it must be float</c>.</param>
internal sealed record Mismatch(MismatchKind Kind, string Reason)
{
    internal static Mismatch NotAWeight(string reason) => new(MismatchKind.NotAWeight, reason);

    internal static Mismatch LeftAlone(string reason) => new(MismatchKind.LeftAlone, reason);
}

/// <summary>Bindings, or the reason for having none.</summary>
internal readonly record struct MatchResult(Bindings? Bindings, Mismatch? Mismatch)
{
    internal static MatchResult Matched(Bindings bindings) => new(bindings, null);

    internal static MatchResult Failed(Mismatch mismatch) => new(null, mismatch);
}
