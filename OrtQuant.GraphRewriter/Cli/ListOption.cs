using System.CommandLine;
using System.Globalization;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>Options whose value is a list, <c>--m 1,16,512</c>.</summary>
internal static class ListOption
{
    /// <summary>A list of integers.</summary>
    public static Option<int[]> Integers(string name, int[] defaults, string description, Func<int, bool> isPermitted, string permitted) =>
        Create(name, defaults, $"{description} (default: {string.Join(",", defaults)})", text =>
            int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value) && isPermitted(value)
                ? value
                : throw new UsageException($"{name} has '{text}'; permitted: {permitted}"));

    /// <summary>A list of words, each standing for a value.</summary>
    public static Option<T[]> Words<T>(string name, T[] defaults, string description, IReadOnlyDictionary<string, T> words) =>
        Create(name, defaults, description, text => words.TryGetValue(text, out var value)
            ? value
            : throw new UsageException($"{name} has '{text}'; permitted: {string.Join(", ", words.Keys)}"));

    /// <summary>A list of anything.</summary>
    /// <param name="name">The option.</param>
    /// <param name="defaults">Value without the option.</param>
    /// <param name="description">For help.</param>
    /// <param name="parse">Reads an item; throws <see cref="UsageException"/>.</param>
    public static Option<T[]> Create<T>(string name, T[] defaults, string description, Func<string, T> parse) => new(name)
    {
        Description = description,
        HelpName = "LIST",
        DefaultValueFactory = _ => defaults,
        CustomParser = result =>
        {
            try
            {
                return [.. result.Tokens.SelectMany(token => token.Value.Split(',', StringSplitOptions.TrimEntries)).Select(parse)];
            }
            catch (UsageException exception)
            {
                result.AddError(exception.Message);
                return [];
            }
        },
    };
}
