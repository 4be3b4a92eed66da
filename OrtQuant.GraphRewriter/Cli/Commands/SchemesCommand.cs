using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Cli.Commands;

/// <summary><c>ortquant schemes</c>: the ways to hold a weight.</summary>
internal sealed class SchemesCommand : ToolCommand
{
    // Bits per weight depend on the shape through padding only; this one has none.
    private static readonly WeightShape Shape = new(4096, 4096);

    /// <summary>Declares the verb.</summary>
    public SchemesCommand()
        : base("schemes", "List the ways to hold weights: bits per weight, kernels here, the paper.", "ortquant schemes", "ortquant schemes --json")
    {
    }

    /// <inheritdoc/>
    protected override Task<int> RunAsync(ParseResult arguments, CommandContext context)
    {
        var kernels = InstalledKernels.Find();
        if (kernels.Problem is { } problem) context.Log(problem);
        context.WriteResult(
            () => new JsonObject
            {
                ["kernels"] = new JsonArray([.. kernels.Supported.Select(isa => JsonValue.Create(isa))]),
                ["active"] = kernels.Active,
                ["schemes"] = new JsonArray([.. SchemeCatalog.All.Select(Describe)]),
            },
            output =>
            {
                foreach (var scheme in SchemeCatalog.All) Write(scheme, output);
                output.WriteLine(kernels.Active is null ? "kernels here: none" : $"kernels here: {string.Join(", ", kernels.Supported)} (in use: {kernels.Active})");
            });
        return Task.FromResult(ExitCode.Ok);
    }

    private static JsonObject Describe(IWeightScheme scheme) => new()
    {
        ["scheme"] = scheme.Name,
        ["title"] = scheme.Title,
        ["op"] = $"{scheme.Op.Domain}::{scheme.Op.Name}",
        ["paper"] = scheme.Paper,
        ["variants"] = new JsonArray([.. scheme.Samples.Select(parameters => new JsonObject
        {
            ["parameters"] = scheme.ToJson(parameters),
            ["bits_per_weight"] = Math.Round(scheme.BitsPerWeight(Shape, parameters), 4),
            ["default"] = parameters.Equals(scheme.DefaultParameters),
        })]),
    };

    private static void Write(IWeightScheme scheme, TextWriter output)
    {
        output.WriteLine($"{scheme.Name}: {scheme.Title}");
        output.WriteLine($"  op {scheme.Op.Domain}::{scheme.Op.Name}; {scheme.Paper}");
        using var table = new StringWriter();
        TextTable.Write(table, ["parameters", "bits/weight", ""], scheme.Samples.Select(parameters => new[]
        {
            parameters.ToString()!,
            scheme.BitsPerWeight(Shape, parameters).ToString("0.00", CultureInfo.InvariantCulture),
            parameters.Equals(scheme.DefaultParameters) ? "default" : "",
        }));
        foreach (var line in table.ToString().TrimEnd().Split('\n')) output.WriteLine($"  {line}");
        output.WriteLine();
    }
}
