using OrtQuant.Schemes.Dual;
using OrtQuant.Schemes.Group;
using OrtQuant.Schemes.Lut;
using OrtQuant.Schemes.Mixed;
using OrtQuant.Schemes.Smooth;

namespace OrtQuant.Schemes;

/// <summary>The schemes that exist, in the order in which they are listed to users. A new scheme is one line here.</summary>
public static class SchemeCatalog
{
    /// <summary>Every scheme, in order.</summary>
    public static IReadOnlyList<IWeightScheme> All { get; } =
    [
        GroupScheme.Instance,
        DualScheme.Instance,
        SmoothScheme.Instance,
        LutScheme.Instance,
        MixedScheme.Instance,
    ];

    /// <summary>The scheme of that name.</summary>
    /// <exception cref="OrtQuantException">There is none; the message lists the names.</exception>
    public static IWeightScheme Get(string name) =>
        All.FirstOrDefault(scheme => scheme.Name == name)
        ?? throw new OrtQuantException($"scheme is '{name}'; it must be one of {string.Join(", ", All.Select(scheme => scheme.Name))}");
}
