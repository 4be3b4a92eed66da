using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Comparison;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>A comparison as JSON and as text, for <c>compare</c> and for <c>rewrite --verify</c>.</summary>
internal static class ComparisonReport
{
    /// <summary>The JSON object of <c>compare</c>.</summary>
    public static JsonObject ToJson(ComparisonResult result)
    {
        var json = new JsonObject
        {
            ["max_abs"] = JsonNumber.Of(result.MaxAbs),
            ["relative_l2"] = JsonNumber.Of(result.RelativeL2),
            ["cosine"] = JsonNumber.Of(result.Cosine),
            ["kl_mean"] = JsonNumber.Of(result.KlMean),
            ["kl_max"] = JsonNumber.Of(result.KlMax),
            ["top1_agreement"] = JsonNumber.Of(result.Top1Agreement),
            ["tokens"] = result.Tokens,
        };
        if (result.Perplexity is { } perplexity)
        {
            json["perplexity"] = new JsonObject
            {
                ["reference"] = JsonNumber.Of(perplexity.Reference),
                ["rewritten"] = JsonNumber.Of(perplexity.Rewritten),
            };
        }

        json["outputs"] = new JsonArray([.. result.Outputs.Select(output => (JsonNode)new JsonObject
        {
            ["name"] = output.Name,
            ["step"] = output.Step,
            ["max_abs"] = JsonNumber.Of(output.MaxAbs),
            ["relative_l2"] = JsonNumber.Of(output.RelativeL2),
            ["cosine"] = JsonNumber.Of(output.Cosine),
        })]);
        return json;
    }

    /// <summary>The same for a reader.</summary>
    public static void Write(ComparisonResult result, TextWriter text)
    {
        var worst = result.Outputs.MaxBy(output => output.RelativeL2)!;
        text.WriteLine($"relative L2     {result.RelativeL2:g4}   (worst of {result.Outputs.Count} outputs: {worst.Name}, {worst.Step} step)");
        text.WriteLine($"max abs         {result.MaxAbs:g4}");
        text.WriteLine($"cosine          {result.Cosine:0.000000}");
        if (result.KlMean is { } mean)
        {
            text.WriteLine($"KL divergence   {mean:g4} mean, {result.KlMax:g4} max, nats a token, over {result.Tokens} tokens");
            text.WriteLine($"top-1 agreement {100 * result.Top1Agreement:0.00} %");
        }

        if (result.Perplexity is { } perplexity)
        {
            text.WriteLine($"perplexity      {perplexity.Reference:0.0000} reference, {perplexity.Rewritten:0.0000} rewritten");
        }
    }
}
