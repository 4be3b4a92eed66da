using OrtQuant.GraphRewriter.Quantizers;

namespace OrtQuant.GraphRewriter.Planning;

/// <summary>How much a rewrite spends on quality: an algorithm, and with it whether the model is run to see what its weights are multiplied with.</summary>
/// <param name="Name">The one name: <c>--quality</c>.</param>
/// <param name="Title">A few words for lists.</param>
/// <param name="Algorithm">Name of the algorithm.</param>
public sealed record QualityRecipe(string Name, string Title, string Algorithm)
{
    /// <summary>Round to nearest: as fast as files are read and written; the model is not run.</summary>
    public static QualityRecipe Fast { get; } = new("fast", "round to nearest, the model is not run", "rtn");

    /// <summary>Scales searched with the second moments of the inputs, on a little text that the model writes itself unless one is given.</summary>
    public static QualityRecipe Balanced { get; } = new("balanced", "scales searched for the inputs that the model sees", "weighted");

    /// <summary>Codes and scales found together by coordinate descent, each weight for the inputs that the weights quantized before it give.</summary>
    public static QualityRecipe Best { get; } = new("best", "codes and scales found for the inputs that the quantized model sees", "descent");

    /// <summary>The recipes, cheapest first.</summary>
    public static IReadOnlyList<QualityRecipe> All { get; } = [Fast, Balanced, Best];

    /// <summary>What is taken where the user asks for nothing.</summary>
    /// <param name="calibrated">Whether there is text, or statistics, to calibrate with.</param>
    public static QualityRecipe Default(bool calibrated) => calibrated ? Balanced : Fast;

    /// <summary>Whether the algorithm uses statistics of activations.</summary>
    public bool Calibrates => QuantizerCatalog.Get(Algorithm).StatisticsNeeded > StatisticsLevel.None;

    /// <summary>The recipe of that name.</summary>
    /// <exception cref="PlanException">There is none; the message lists the names.</exception>
    public static QualityRecipe Get(string name) =>
        All.FirstOrDefault(recipe => recipe.Name == name)
        ?? throw new PlanException($"quality is '{name}'; it must be one of {string.Join(", ", All.Select(recipe => recipe.Name))}");
}
