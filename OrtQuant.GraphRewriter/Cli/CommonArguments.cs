using System.CommandLine;
using System.Globalization;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>Arguments and options that several verbs share, so that they read and behave the same everywhere.</summary>
internal static class CommonArguments
{
    /// <summary>MODEL: an .onnx file, or a folder that holds one. Resolve it with <see cref="ModelPath.Resolve"/>.</summary>
    public static Argument<string> Model(string name = "MODEL", string description = "An .onnx file, or a folder that holds one.") =>
        new(name) { Description = description };

    /// <summary>--threads N.</summary>
    public static Option<int> Threads() => Positive(
        "--threads", Environment.ProcessorCount, "Threads to use (default: one a core).");

    /// <summary>--no-library: leave the kernels of the pack out.</summary>
    public static Option<bool> NoLibrary() => new("--no-library")
    {
        Description = "Do not register the native library: models run through their function bodies.",
    };

    /// <summary>An integer option that must be at least 1.</summary>
    public static Option<int> Positive(string name, int defaultValue, string description)
    {
        var option = new Option<int>(name) { Description = description, HelpName = "N", DefaultValueFactory = _ => defaultValue };
        option.Validators.Add(result =>
        {
            // What is no number at all is the parser's to report.
            if (result.Tokens is [var token] && long.TryParse(token.Value, CultureInfo.InvariantCulture, out var value) && value < 1)
            {
                result.AddError($"{name} is {value}; it must be at least 1.");
            }
        });
        return option;
    }
}
