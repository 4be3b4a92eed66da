using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Matching;
using OrtQuant.GraphRewriter.Planning;

namespace OrtQuant.GraphRewriter.Cli.Commands;

/// <summary><c>ortquant inspect</c>: what a model is made of.</summary>
internal sealed class InspectCommand : ToolCommand
{
    private readonly Argument<string> _model = CommonArguments.Model();

    /// <summary>Declares the verb.</summary>
    public InspectCommand()
        : base(
            "inspect",
            "Show what a model is made of: ops, weights, element types, bits per weight, sizes.",
            "ortquant inspect models/stories260k",
            "ortquant inspect model.q4.onnx --json")
    {
        Arguments.Add(_model);
    }

    /// <inheritdoc/>
    protected override Task<int> RunAsync(ParseResult arguments, CommandContext context)
    {
        var path = ModelPath.Resolve(arguments.GetValue(_model)!);
        using var model = OnnxModel.Load(path.File);
        var inventory = ModelInventory.Of(model);
        context.WriteResult(() => ToJson(model, inventory), output => Write(model, inventory, path.File, output));
        return Task.FromResult(ExitCode.Ok);
    }

    private static JsonObject ToJson(OnnxModel model, ModelInventory inventory) => new()
    {
        ["bytes"] = model.FileBytes,
        ["ir_version"] = model.Proto.IrVersion,
        ["opsets"] = new JsonObject(model.Proto.OpsetImport.Select(import => KeyValuePair.Create(import.Domain, (JsonNode?)import.Version)).DistinctBy(pair => pair.Key)),
        ["functions"] = new JsonArray([.. model.Proto.Functions.Select(function => JsonValue.Create($"{function.Domain}::{function.Name}"))]),
        ["ops"] = new JsonObject(inventory.Ops.Select(op => KeyValuePair.Create(op.Name, (JsonNode?)op.Count))),
        ["types"] = new JsonArray([.. inventory.Types.Select(total => new JsonObject
        {
            ["type"] = total.Type.ToString().ToLowerInvariant(),
            ["tensors"] = total.Count,
            ["elements"] = total.Elements,
            ["bytes"] = total.Bytes,
        })]),
        ["weights"] = new JsonArray([.. inventory.Weights.Select(weight => new JsonObject
        {
            ["name"] = weight.Name,
            ["nodes"] = new JsonArray([.. weight.Nodes.Select(name => JsonValue.Create(name))]),
            ["k"] = weight.Shape.K,
            ["n"] = weight.Shape.N,
            ["format"] = weight.Format,
            ["bits_per_weight"] = Math.Round(weight.BitsPerWeight, 4),
            ["bytes"] = weight.Bytes,
        })]),
        ["bits_per_weight"] = JsonNumber.Of(ModelInventory.BitsPerWeight(inventory.Weights), 4),
    };

    private static void Write(OnnxModel model, ModelInventory inventory, string file, TextWriter output)
    {
        var opsets = model.Proto.OpsetImport.Select(import => $"{(import.Domain.Length == 0 ? "ai.onnx" : import.Domain)} {import.Version}");
        output.WriteLine($"{Path.GetFileName(file)}: {Number(model.FileBytes)} bytes, IR version {model.Proto.IrVersion}, opsets {string.Join(", ", opsets)}");
        output.WriteLine($"nodes: {inventory.Ops.Sum(op => op.Count)}: {string.Join(", ", inventory.Ops.Select(op => $"{op.Count} {op.Name}"))}");
        if (model.Proto.Functions.Count > 0)
        {
            output.WriteLine($"functions: {string.Join(", ", model.Proto.Functions.Select(function => $"{function.Domain}::{function.Name}"))}");
        }

        output.WriteLine();
        TextTable.Write(output, ["element type", "tensors", "elements", "bytes"], inventory.Types.Select(total => new[]
        {
            total.Type.ToString().ToLowerInvariant(), Number(total.Count), Number(total.Elements), Number(total.Bytes),
        }));
        output.WriteLine();
        TextTable.Write(output, ["weight", "read by", "N", "K", "format", "bits/weight", "bytes"], inventory.Weights.Select(weight => new[]
        {
            weight.Name,
            weight.Nodes.Count == 1 ? weight.Nodes[0] : $"{weight.Nodes[0]} and {weight.Nodes.Count - 1} more",
            Number(weight.Shape.N),
            Number(weight.Shape.K),
            weight.Format,
            weight.BitsPerWeight.ToString("0.00", CultureInfo.InvariantCulture),
            Number(weight.Bytes),
        }));
        if (ModelInventory.BitsPerWeight(inventory.Weights) is { } overall)
        {
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{inventory.Weights.Count} weights, {inventory.Weights.Sum(weight => weight.Shape.Count) / 1e6:0.##} million values, {overall:0.00} bits per weight"));
        }
    }

    private static string Number(long value) => value.ToString(CultureInfo.InvariantCulture);
}
