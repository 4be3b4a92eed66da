using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Quantizers;

namespace OrtQuant.GraphRewriter.Calibration;

/// <summary>A weight that was quantized without statistics although its algorithm uses them.</summary>
/// <param name="Name">Name of the weight.</param>
/// <param name="Reason">Why there are none.</param>
public sealed record UncalibratedWeight(string Name, string Reason);

/// <summary>What statistics a rewrite used.</summary>
public sealed record CalibrationReport
{
    /// <summary>Where they come from: a file, or the model's own text.</summary>
    public required string Source { get; init; }

    /// <summary>How much was gathered.</summary>
    public required StatisticsLevel Level { get; init; }

    /// <summary>Sequences that the model was run on; 0 where statistics were read from a file.</summary>
    public int Sequences { get; init; }

    /// <summary>Tokens in all.</summary>
    public long Tokens { get; init; }

    /// <summary>Whether each weight saw the inputs that the weights quantized before it give.</summary>
    public bool Sequential { get; init; }

    /// <summary>Weights that have statistics.</summary>
    public int Weights { get; init; }

    /// <summary>Weights that have none.</summary>
    public IReadOnlyList<UncalibratedWeight> Uncalibrated { get; init; } = [];

    /// <summary>Seconds that making text took.</summary>
    public double TextSeconds { get; init; }

    /// <summary>Seconds that gathering took, with the quantization that goes along with it where it is sequential.</summary>
    public double Seconds { get; init; }

    /// <summary>Why there are no statistics at all and weights were rounded to nearest; null where there are.</summary>
    public string? Fallback { get; init; }

    /// <summary>The report as JSON.</summary>
    public JsonObject ToJson() => new()
    {
        ["source"] = Source,
        ["statistics"] = Level.ToString().ToLowerInvariant(),
        ["sequences"] = Sequences,
        ["tokens"] = Tokens,
        ["sequential"] = Sequential,
        ["weights"] = Weights,
        ["uncalibrated"] = new JsonArray([.. Uncalibrated.Select(weight => new JsonObject { ["name"] = weight.Name, ["reason"] = weight.Reason })]),
        ["text_seconds"] = TextSeconds,
        ["seconds"] = Seconds,
        ["fallback"] = Fallback,
    };
}
