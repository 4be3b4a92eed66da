using OrtQuant.Attention;
using OrtQuant.Descriptions;
using OrtQuant.Schemes;

namespace OrtQuant;

/// <summary>The custom operators that exist.</summary>
public static class OpCatalog
{
    /// <summary>Operators that hold no weights, in the order in which the native library lists them.</summary>
    public static IReadOnlyList<OpDescription> Others { get; } = [MaskedAttentionOp.Description];

    /// <summary>Those of all schemes, and the others.</summary>
    public static IReadOnlyList<OpDescription> All { get; } =
        [.. SchemeCatalog.All.SelectMany(scheme => scheme.Ops), .. Others];
}
