using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Calibration;
using OrtQuant.GraphRewriter.Matching;

namespace OrtQuant.GraphRewriter.Rewriting;

/// <summary>A node of the rewritten graph that reads a packed weight.</summary>
/// <param name="Name">Name of the node.</param>
/// <param name="Op">Its op type.</param>
/// <param name="Scheme">Name of the scheme.</param>
/// <param name="K">Inputs.</param>
/// <param name="N">Outputs.</param>
/// <param name="BitsPerWeight">Stored bits of codes, scales and zero points divided by N * K.</param>
/// <param name="RelativeError">Relative L2 error of the weight, <c>|W - W'| / |W|</c>; null for a weight that kept its codes.</param>
public sealed record RewrittenNode(string Name, string Op, string Scheme, long K, long N, double BitsPerWeight, double? RelativeError);

/// <summary>What a rewrite did.</summary>
public sealed record RewriteResult
{
    /// <summary>The graph that was written.</summary>
    public required string Path { get; init; }

    /// <summary>Nodes that read packed weights, in graph order.</summary>
    public required IReadOnlyList<RewrittenNode> Nodes { get; init; }

    /// <summary>Nodes with weights that were left alone.</summary>
    public required IReadOnlyList<SkippedNode> Skipped { get; init; }

    /// <summary>What statistics of activations were used; null where none were asked for or no algorithm uses any.</summary>
    public CalibrationReport? Calibration { get; init; }

    /// <summary>Size of the model before: graph and external data, in bytes.</summary>
    public required long BytesIn { get; init; }

    /// <summary>Size of the model after: graph and external data, in bytes.</summary>
    public required long BytesOut { get; init; }

    /// <summary>Wall time of the rewrite.</summary>
    public required double Seconds { get; init; }

    /// <summary>Highest resident memory of the process so far, the mapped input included.</summary>
    public required long PeakRssBytes { get; init; }

    /// <summary>Highest anonymous resident memory during the rewrite, sampled; what cannot be given back to the input file.</summary>
    public required long PeakAnonymousBytes { get; init; }

    /// <summary>The result as JSON.</summary>
    public JsonObject ToJson() => new()
    {
        ["nodes"] = new JsonArray([.. Nodes.Select(node => new JsonObject
        {
            ["name"] = node.Name,
            ["op"] = node.Op,
            ["scheme"] = node.Scheme,
            ["k"] = node.K,
            ["n"] = node.N,
            ["bits_per_weight"] = node.BitsPerWeight,
            ["relative_error"] = node.RelativeError,
        })]),
        ["skipped"] = new JsonArray([.. Skipped.Select(node => new JsonObject { ["name"] = node.Name, ["op"] = node.Op, ["reason"] = node.Reason })]),
        ["calibration"] = Calibration?.ToJson(),
        ["bytes_in"] = BytesIn,
        ["bytes_out"] = BytesOut,
        ["seconds"] = Seconds,
        ["peak_rss_bytes"] = PeakRssBytes,
        ["peak_anonymous_bytes"] = PeakAnonymousBytes,
    };
}
