using System.Globalization;

namespace OrtQuant.GraphRewriter.Evaluation;

/// <summary>The figures of an evaluation as cells of text: one place for what columns there are and how numbers are written.</summary>
internal static class EvaluationTable
{
    private const string None = "-";

    /// <summary>A column.</summary>
    /// <param name="Title">Its head, with the unit.</param>
    /// <param name="Cell">A model's figure as text.</param>
    /// <param name="Order">A number that is smaller the better the figure is; null where no figure is better than another.</param>
    internal sealed record Column(string Title, Func<EvaluatedModel, string> Cell, Func<EvaluatedModel, double?>? Order = null);

    /// <summary>The columns that an evaluation has figures for, the model's name first.</summary>
    internal static IReadOnlyList<Column> Columns(EvaluationResult result)
    {
        var columns = new List<Column>
        {
            new("model", model => model.Name),
            new("perplexity", model => Number(model.Perplexity, Decimals(model.Perplexity)), model => model.Perplexity),
            new("loss +/- s.e.", model => model.Fidelity is { } f ? $"{Number(f.LossDifference.Mean, "+0.0000;-0.0000")} +/- {Number(f.LossDifference.StandardError, "0.0000")}" : None, model => model.Fidelity?.LossDifference.Mean),
            new("KL mean", model => Number(model.Fidelity?.Divergence.Mean, "0.0000"), model => model.Fidelity?.Divergence.Mean),
            new("KL p90", model => Number(model.Fidelity?.Divergence.P90, "0.0000"), model => model.Fidelity?.Divergence.P90),
            new("KL p99", model => Number(model.Fidelity?.Divergence.P99, "0.000"), model => model.Fidelity?.Divergence.P99),
            new("KL max", model => Number(model.Fidelity?.Divergence.Max, "0.00"), model => model.Fidelity?.Divergence.Max),
            new("same top-1", model => model.Fidelity is { } f ? $"{Number(100 * f.Top1Agreement, "0.0")}%" : None, model => -model.Fidelity?.Top1Agreement),
            new("MB", model => Number(model.Bytes / 1e6, model.Bytes < 1e7 ? "0.000" : "0.0"), model => model.Bytes),
            new("bits/weight", model => Number(model.BitsPerWeight, "0.00"), model => model.BitsPerWeight),
            new("in layers", model => Number(model.LayerBitsPerWeight, "0.00"), model => model.LayerBitsPerWeight),
            new("load s", model => Number(model.LoadSeconds, "0.00"), model => model.LoadSeconds),
            new("anon MB", model => Number(model.AnonymousBytes / 1e6, "0"), model => model.AnonymousBytes),
        };
        if (result.All.Any(model => model.Speed is not null))
        {
            columns.Add(new Column("prefill tok/s", model => Number(model.Speed?.Prefill, "0.0"), model => -model.Speed?.Prefill));
            columns.Add(new Column("decode tok/s", model => Number(model.Speed?.Decode, "0.0"), model => -model.Speed?.Decode));
        }

        return columns;
    }

    /// <summary>A number as the reports write it; NaN as it is.</summary>
    internal static string Number(double? value, string format) => value is { } number ? number.ToString(format, CultureInfo.InvariantCulture) : None;

    private static string Decimals(double value) => value < 1000 ? "0.000" : "0";
}
