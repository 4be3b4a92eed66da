using System.CommandLine;
using System.Globalization;
using OrtQuant.GraphRewriter.Planning.Allocation;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>The options that give a plan a budget: a fractional <c>--bits</c>, <c>--max-bytes</c>, and where bits are found to matter.</summary>
internal sealed class AllocationArguments
{
    private static readonly (string Suffix, long Factor)[] Units =
        [("kib", 1L << 10), ("mib", 1L << 20), ("gib", 1L << 30), ("kb", 1000), ("mb", 1_000_000), ("gb", 1_000_000_000), ("b", 1)];

    private readonly Option<double?> _bits = new("--bits")
    {
        Description = "Bits of a code (default: 4). With a fraction (4.25): stored bits per weight on average, each weight with as many as do most good; with scheme mixed: of every weight.",
        HelpName = "B",
    };

    private readonly Option<string?> _maxBytes = new("--max-bytes")
    {
        Description = "Most bytes of graph and data, e.g. 92MB (10^6) or 88MiB (2^20): each weight gets as many bits as do most good.",
        HelpName = "SIZE",
    };

    private readonly Option<string?> _sensitivity = new("--sensitivity")
    {
        Description = "Where bits matter: found from the weights (default, seconds), or measured by running the model once for each (minutes).",
        HelpName = "weights|measured",
    };

    /// <summary>The options, in the order in which help lists them.</summary>
    public IEnumerable<Option> Options => [_bits, _maxBytes, _sensitivity];

    /// <summary>The bits of every weight; null where none or a budget is given.</summary>
    /// <param name="arguments">The command line.</param>
    /// <param name="scheme">The scheme of the weights.</param>
    public double? UniformBits(ParseResult arguments, IWeightScheme scheme) => IsBudget(arguments, scheme) ? null : arguments.GetValue(_bits);

    /// <summary>The budget; null where every weight has the same bits.</summary>
    /// <param name="arguments">The command line.</param>
    /// <param name="scheme">The scheme of the weights.</param>
    /// <exception cref="UsageException">A value that is not permitted, or options that do not go together.</exception>
    public AllocationOptions? Read(ParseResult arguments, IWeightScheme scheme)
    {
        var bits = arguments.GetValue(_bits);
        if (bits is { } given && !(given is > 0 and <= 32)) throw new UsageException($"--bits is {Text(given)}; it must be above 0 and at most 32");
        var isBudget = IsBudget(arguments, scheme);
        var maxBytes = arguments.GetValue(_maxBytes) is { } size ? Bytes(size) : (long?)null;
        var sensitivity = arguments.GetValue(_sensitivity);
        if (sensitivity is not (null or "weights" or "measured")) throw new UsageException($"--sensitivity is '{sensitivity}'; it must be one of weights, measured");
        if (!isBudget && maxBytes is null)
        {
            if (sensitivity is not null) throw new UsageException("--sensitivity needs a budget: --max-bytes, or --bits with a fraction");
            return null;
        }

        if (bits is { } whole && !isBudget) throw new UsageException($"--bits {Text(whole)} gives every weight {Text(whole)} bits, which leaves --max-bytes nothing to choose; leave one of them out");
        return new AllocationOptions(new BitBudget(bits, maxBytes), sensitivity == "measured" ? SensitivitySource.Measured : SensitivitySource.Weights);
    }

    // A fraction, unless the scheme makes it of every weight; then who asks where bits matter asks for a budget, too.
    private bool IsBudget(ParseResult arguments, IWeightScheme scheme) =>
        arguments.GetValue(_bits) is { } bits && bits != Math.Floor(bits)
        && (!scheme.BitsIncludeEverything || arguments.GetValue(_sensitivity) is not null || arguments.GetValue(_maxBytes) is not null);

    /// <summary>A size as the user types it: a number, and a unit or none.</summary>
    /// <exception cref="UsageException">It is none.</exception>
    public static long Bytes(string text)
    {
        var lower = text.Trim().ToLowerInvariant();
        var (suffix, factor) = Units.FirstOrDefault(unit => lower.EndsWith(unit.Suffix, StringComparison.Ordinal), ("", 1));
        var number = lower[..^suffix.Length].Trim();
        return double.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value) && value * factor is >= 1 and < long.MaxValue
            ? (long)(value * factor)
            : throw new UsageException($"--max-bytes is '{text}'; it must be a positive number, with one of b, kB, MB, GB, KiB, MiB, GiB or without a unit");
    }

    private static string Text(double value) => value.ToString(CultureInfo.InvariantCulture);
}
