using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Matching;
using OrtQuant.GraphRewriter.Quantizers;
using OrtQuant.GraphRewriter.Transforms;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Planning;

/// <summary>The JSON form of a plan.</summary>
internal static class PlanJson
{
    /// <summary>Version of the form; a reader refuses others.</summary>
    private const int Version = 1;

    private static readonly Dictionary<RewriteTarget, string> Targets = new() { [RewriteTarget.Cpu] = "cpu", [RewriteTarget.Cuda] = "cuda" };

    private static readonly Dictionary<EmittedOps, string> Emitted = new()
    {
        [EmittedOps.OrtQuant] = "ortquant",
        [EmittedOps.Microsoft] = "microsoft",
    };

    internal static JsonObject Write(QuantizationPlan plan) => new()
    {
        ["ortquant_plan"] = Version,
        ["target"] = Targets[plan.Target],
        ["emit"] = Emitted[plan.Emit],
        ["transforms"] = new JsonArray([.. plan.Transforms.Select(TransformCatalog.ToJson)]),
        ["weights"] = new JsonArray([.. plan.Weights.Select(Write)]),
        ["skipped"] = new JsonArray([.. plan.Skipped.Select(Write)]),
    };

    internal static QuantizationPlan Read(JsonObject json)
    {
        var reader = new JsonReader(json, "");
        var version = reader.Long("ortquant_plan", -1);
        if (version != Version)
        {
            throw new PlanException(version == -1 ? "ortquant_plan is missing: this is no plan" : $"ortquant_plan is {version}; it must be {Version}");
        }

        var plan = new QuantizationPlan
        {
            Target = reader.Choice("target", RewriteTarget.Cpu, Targets),
            Emit = reader.Choice("emit", EmittedOps.OrtQuant, Emitted),
            Transforms = [.. reader.ObjectsOrNone("transforms").Select(TransformCatalog.FromJson)],
            Weights = [.. reader.Objects("weights").Select(ReadWeight)],
            Skipped = [.. reader.ObjectsOrNone("skipped").Select(ReadSkipped)],
        };
        reader.Finish();
        plan.Check();
        return plan;
    }

    private static JsonObject Write(PlannedWeight weight) => new()
    {
        ["name"] = weight.Name,
        ["n"] = weight.Shape.N,
        ["k"] = weight.Shape.K,
        ["nodes"] = new JsonArray([.. weight.Consumers.Select(name => JsonValue.Create(name))]),
        ["scheme"] = weight.Scheme,
        ["parameters"] = SchemeCatalog.Get(weight.Scheme).ToJson(weight.Parameters),
        ["algorithm"] = weight.Algorithm,
        ["accuracy_level"] = weight.AccuracyLevel,
        ["why"] = weight.Why,
    };

    private static JsonObject Write(SkippedNode node) => new() { ["name"] = node.Name, ["op"] = node.Op, ["reason"] = node.Reason };

    private static PlannedWeight ReadWeight(JsonReader reader)
    {
        var name = reader.String("name");
        var schemeName = reader.String("scheme");
        var algorithm = reader.String("algorithm", "rtn");
        var accuracyLevel = reader.Long("accuracy_level", Planner.DefaultAccuracyLevel);
        if (accuracyLevel is not (0 or 1 or 4)) throw new PlanException($"{reader.Path}.accuracy_level is {accuracyLevel}; it must be 0, 1 or 4");
        SchemeParameters parameters;
        try
        {
            if (algorithm != PlannedWeight.Adopt) QuantizerCatalog.Get(algorithm);
            parameters = SchemeCatalog.Get(schemeName).Parse(reader.Object("parameters"));
        }
        catch (OrtQuantException exception)
        {
            throw new PlanException($"{reader.Path} ('{name}'): {exception.Message}", exception);
        }

        var weight = new PlannedWeight(
            name,
            new WeightShape(reader.Long("n", 0), reader.Long("k", 0)),
            reader.Strings("nodes"),
            schemeName,
            parameters,
            algorithm,
            (int)accuracyLevel,
            reader.String("why", "given in the plan"));
        reader.Finish();
        return weight;
    }

    private static SkippedNode ReadSkipped(JsonReader reader)
    {
        var node = new SkippedNode(reader.String("name"), reader.String("op"), reader.String("reason"));
        reader.Finish();
        return node;
    }
}
