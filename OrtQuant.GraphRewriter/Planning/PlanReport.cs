using System.Globalization;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Transforms;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Planning;

/// <summary>A plan as text.</summary>
internal static class PlanReport
{
    /// <summary>Every transform, weight and skipped node, a line each.</summary>
    internal static void Write(QuantizationPlan plan, TextWriter output)
    {
        if (plan.Transforms.Count > 0)
        {
            output.WriteLine("Transforms, in this order");
            foreach (var transform in plan.Transforms) output.WriteLine($"  {transform.Name}: {Summary(transform, plan)}");
            output.WriteLine();
        }

        TextTable.Write(
            output,
            ["weight", "read by", "N", "K", "bits/weight", "accuracy", "algorithm", "why"],
            plan.Weights.Select(weight => new[]
            {
                weight.Name,
                weight.Consumers.Count == 1 ? weight.Consumers[0] : $"{weight.Consumers[0]} and {weight.Consumers.Count - 1} more",
                weight.Shape.N.ToString(CultureInfo.InvariantCulture),
                weight.Shape.K.ToString(CultureInfo.InvariantCulture),
                BitsPerWeight(weight).ToString("0.00", CultureInfo.InvariantCulture),
                AccuracyName(weight.AccuracyLevel),
                weight.Algorithm,
                weight.Why,
            }));
        if (plan.Skipped.Count > 0)
        {
            output.WriteLine();
            output.WriteLine("Left alone");
            foreach (var node in plan.Skipped) output.WriteLine($"  {node.Op} {node.Name}: {node.Reason}");
        }

        output.WriteLine();
        output.WriteLine(Summary(plan));
    }

    // Exporters number the weights that they transpose (onnx::MatMul_1234): the node says more.
    private static string Summary(Transform transform, QuantizationPlan plan) => transform is MergeLinears merge
        ? MergeLinears.SummaryOf([.. merge.Weights.Select(name => name.Contains("::", StringComparison.Ordinal) ? plan.Weights.FirstOrDefault(weight => weight.Name == name)?.Consumers[0] ?? name : name)])
        : transform.Summary;

    /// <summary>One line: how many weights, how many values, how many bits each.</summary>
    internal static string Summary(QuantizationPlan plan)
    {
        var values = plan.Weights.Sum(weight => (double)weight.Shape.Count);
        var bits = plan.Weights.Sum(weight => BitsPerWeight(weight) * weight.Shape.Count);
        return plan.Weights.Count == 0
            ? $"No weights to pack; {Count(plan.Skipped.Count, "node")} left alone."
            : string.Create(
                CultureInfo.InvariantCulture,
                $"{Count(plan.Weights.Count, "weight")}, {values / 1e6:0.##} million values: {bits / values:0.00} bits per weight, {bits / 8e6:0.##} MB; {Count(plan.Skipped.Count, "node")} left alone.");
    }

    internal static double BitsPerWeight(PlannedWeight weight) =>
        SchemeCatalog.Get(weight.Scheme).BitsPerWeight(weight.Shape, weight.Parameters);

    internal static string Count(int count, string what) => count == 1 ? $"1 {what}" : $"{count} {what}s";

    internal static string AccuracyName(int level) => level == 4 ? "int8" : "float";
}
