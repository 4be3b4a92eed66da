using System.Globalization;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Planning.Allocation;

namespace OrtQuant.GraphRewriter.Recommendation;

/// <summary>A way to quantize a model: what a user would ask <c>rewrite</c> for.</summary>
/// <param name="Quality">How codes and scales are chosen.</param>
/// <param name="Bits">Bits of every code; null: <paramref name="Budget"/> is given out.</param>
/// <param name="GroupSize">Group size of all; null: as the budget is given out.</param>
/// <param name="Budget">Limits on size; null with <paramref name="Bits"/>.</param>
public sealed record Recipe(QualityRecipe Quality, int? Bits, int? GroupSize, BitBudget? Budget)
{
    /// <summary>The options of the command line that say the same.</summary>
    public string Options
    {
        get
        {
            var words = new List<string>();
            if (Bits is { } bits) words.Add(Text($"--bits {bits}"));
            if (GroupSize is { } group) words.Add(Text($"--group-size {group}"));
            if (Budget?.BitsPerWeight is { } average) words.Add(Text($"--bits {average}"));
            if (Budget?.MaxBytes is { } most) words.Add(Text($"--max-bytes {most}"));
            if (Budget is not null) words.Add("--sensitivity measured");
            words.Add($"--quality {Quality.Name}");
            return string.Join(' ', words);
        }
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}

/// <summary>The sizes that are tried, from what loses least to what is smallest.</summary>
internal static class RecipeLadder
{
    /// <summary>Averages, with bits where they matter: at every size that loses less than one width for all.</summary>
    private static readonly double[] Averages = [7.25, 6.25, 5.5, 4.8, 4.3, 3.75, 3.25];

    /// <summary>Recipes of one quality.</summary>
    /// <param name="quality">How codes and scales are chosen.</param>
    internal static IReadOnlyList<Recipe> Of(QualityRecipe quality) =>
        [new Recipe(quality, 8, 32, null), .. Averages.Select(bits => new Recipe(quality, null, null, new BitBudget(bits, null)))];
}
