using System.Runtime.InteropServices;
using System.Text.Json;
using OrtQuant.Descriptions;
using OrtQuant.Schemes;

namespace OrtQuant.Tests.Registration;

/// <summary>Both halves keep the same contracts: what the native library says of its ops is what C# says of them.</summary>
[TestClass]
public sealed class DescriptionTests
{
    private static readonly JsonElement Native = JsonDocument.Parse(OrtQuantRuntime.Describe()).RootElement;

    [TestMethod]
    public void TheSchemesAreTheCatalog()
    {
        CollectionAssert.AreEqual(SchemeCatalog.All.Select(scheme => scheme.Name).ToArray(), NativeSchemes().Select(Name).ToArray());
    }

    [TestMethod]
    public void EveryOpIsDescribedTheSame()
    {
        foreach (var (scheme, native) in SchemeCatalog.All.Zip(NativeSchemes()))
        {
            var managed = scheme.Ops.SelectMany(Lines);
            CollectionAssert.AreEqual(managed.ToArray(), List(native, "ops").SelectMany(Lines).ToArray());
        }
    }

    [TestMethod]
    public void SoIsEveryOpWithoutWeights()
    {
        CollectionAssert.AreEqual(OpCatalog.Others.SelectMany(Lines).ToArray(), List(Native, "ops").SelectMany(Lines).ToArray());
    }

    [TestMethod]
    public void ADifferenceShows()
    {
        var op = SchemeCatalog.All[0].Op;
        var other = op with { Inputs = [.. op.Inputs.Skip(1)] };

        CollectionAssert.AreNotEqual(Lines(op).ToArray(), Lines(other).ToArray());
    }

    [TestMethod]
    public void TheDomainAndTheAbiAreTheSame()
    {
        Assert.AreEqual(SchemeCatalog.All[0].Op.Domain, Native.GetProperty("domain").GetString());
        Assert.AreEqual(NativeMethods.AbiVersion, Native.GetProperty("abi_version").GetInt32());
    }

    [TestMethod]
    public void StructuresAreLaidOutAsInC()
    {
        Assert.AreEqual(32, Marshal.SizeOf<NativeMethods.Attribute>());
        Assert.AreEqual(8, Marshal.OffsetOf<NativeMethods.Attribute>(nameof(NativeMethods.Attribute.Kind)));
        Assert.AreEqual(16, Marshal.OffsetOf<NativeMethods.Attribute>(nameof(NativeMethods.Attribute.Int)));
        Assert.AreEqual(24, Marshal.OffsetOf<NativeMethods.Attribute>(nameof(NativeMethods.Attribute.Text)));
        Assert.AreEqual(24, Marshal.SizeOf<NativeMethods.Tensor>());
        Assert.AreEqual(4, Marshal.OffsetOf<NativeMethods.Tensor>(nameof(NativeMethods.Tensor.Rank)));
        Assert.AreEqual(8, Marshal.OffsetOf<NativeMethods.Tensor>(nameof(NativeMethods.Tensor.Shape)));
        Assert.AreEqual(16, Marshal.OffsetOf<NativeMethods.Tensor>(nameof(NativeMethods.Tensor.Data)));
    }

    private static IReadOnlyList<JsonElement> NativeSchemes() => List(Native, "schemes");

    private static IReadOnlyList<JsonElement> List(JsonElement element, string property) =>
        [.. element.GetProperty(property).EnumerateArray()];

    private static string Name(JsonElement element) => element.GetProperty("name").GetString()!;

    /// <summary>An op, line by line: a difference is then seen where it is.</summary>
    private static IEnumerable<string> Lines(OpDescription op) =>
    [
        $"op {op.Name} since {op.SinceVersion}",
        .. op.Inputs.Select(i => $"input {i.Name} {i.Role} {Types(i.Types)} {i.Shape} optional {i.Optional}"),
        .. op.Outputs.Select(o => $"output {o.Name} {Types(o.Types)} {o.Shape}"),
        .. op.Attributes.Where(a => !a.FallbackOnly).Select(a => $"attribute {a.Name} {a.Kind} required {a.Required}"),
    ];

    private static IEnumerable<string> Lines(JsonElement op) =>
    [
        $"op {Name(op)} since {op.GetProperty("since_version")}",
        .. List(op, "inputs").Select(i => $"input {Name(i)} {i.GetProperty("role")} {Types(i)} {i.GetProperty("shape")} optional {i.GetProperty("optional")}"),
        .. List(op, "outputs").Select(o => $"output {Name(o)} {Types(o)} {o.GetProperty("shape")}"),
        .. List(op, "attributes").Select(a => $"attribute {Name(a)} {a.GetProperty("kind")} required {a.GetProperty("required")}"),
    ];

    private static string Types(IEnumerable<ElementType> types) => string.Join(",", types);

    private static string Types(JsonElement element) =>
        Types(List(element, "types").Select(type => Enum.Parse<ElementType>(type.GetString()!, ignoreCase: true)));
}
