using OrtQuant.GraphRewriter.Calibration;
using OrtQuant.GraphRewriter.Quantizers;

namespace OrtQuant.GraphRewriter.Planning;

/// <summary>How much a rewrite spends on quality: an algorithm, and with it whether and how the model is run to see what its weights are multiplied with.</summary>
/// <param name="Name">The one name: <c>--quality</c>.</param>
/// <param name="Title">A few words for lists.</param>
/// <param name="Algorithm">Name of the algorithm.</param>
public sealed record QualityRecipe(string Name, string Title, string Algorithm)
{
    // From this width on no text shows what rounding costs, whatever the algorithm.
    private const int ExactBits = 8;

    /// <summary>Round to nearest: as fast as files are read and written; the model is not run.</summary>
    public static QualityRecipe Fast { get; } = new("fast", "round to nearest, the model is not run", "rtn");

    /// <summary>Error feedback through the products of the inputs, on a little text that the model writes itself unless one is given.</summary>
    public static QualityRecipe Balanced { get; } = new("balanced", "rounding with error feedback, for the inputs that the quantized model sees", "gptq")
    {
        OwnText = new OwnTextOptions { Sequences = 32, Length = 64 },
        CrossProducts = false,
    };

    /// <summary>Codes and scales found together by coordinate descent, each weight for the inputs that the weights quantized before it give.</summary>
    public static QualityRecipe Best { get; } = new("best", "codes and scales found together, errors of earlier layers made up for in part", "descent")
    {
        OwnText = new OwnTextOptions { Sequences = 32, Length = 256 },
    };

    /// <summary>The recipes, cheapest first.</summary>
    public static IReadOnlyList<QualityRecipe> All { get; } = [Fast, Balanced, Best];

    /// <summary>The text that the model writes where none is given.</summary>
    public OwnTextOptions OwnText { get; private init; } = new();

    /// <summary>Whether the original model is run beside the quantized one (<see cref="CalibrationOptions.CrossProducts"/>).</summary>
    public bool CrossProducts { get; private init; } = true;

    /// <summary>What is taken where the user asks for nothing: <see cref="Balanced"/>, unless there is nothing to gain.</summary>
    /// <param name="bits">Bits of all weights, where the user says so.</param>
    /// <param name="calibrated">Whether there is text, or statistics, to calibrate with.</param>
    public static QualityRecipe Default(double? bits, bool calibrated) => bits >= ExactBits && !calibrated ? Fast : Balanced;

    /// <summary>Whether the algorithm uses statistics of activations.</summary>
    public bool Calibrates => QuantizerCatalog.Get(Algorithm).StatisticsNeeded > StatisticsLevel.None;

    /// <summary>How a rewrite gathers what a plan needs: as the recipe does whose algorithm it is.</summary>
    public static CalibrationOptions CalibrationOf(QuantizationPlan plan)
    {
        var recipe = All.LastOrDefault(recipe => recipe.Calibrates && plan.Weights.Any(weight => weight.Algorithm == recipe.Algorithm));
        return recipe is null ? new CalibrationOptions() : new CalibrationOptions { OwnText = recipe.OwnText, CrossProducts = recipe.CrossProducts };
    }

    /// <summary>The recipe of that name.</summary>
    /// <exception cref="PlanException">There is none; the message lists the names.</exception>
    public static QualityRecipe Get(string name) =>
        All.FirstOrDefault(recipe => recipe.Name == name)
        ?? throw new PlanException($"quality is '{name}'; it must be one of {string.Join(", ", All.Select(recipe => recipe.Name))}");
}
