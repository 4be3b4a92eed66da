using System.CommandLine;
using OrtQuant.GraphRewriter.Calibration;
using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>The options that say where statistics of activations come from: a text, token ids, a file of statistics, or the model's own text.</summary>
internal sealed class CalibrationArguments
{
    private const int Context = 512;
    private const int MaxTokens = 32 * Context;

    private readonly Option<string?> _text = new("--calibration")
    {
        Description = $"Text to run the model on, to see what its weights are multiplied with (the first {MaxTokens} tokens); needs the tokenizer beside the model.",
        HelpName = "FILE",
    };

    private readonly Option<string?> _tokens = new("--calibration-tokens") { Description = "The same as a file of token ids: little-endian int32.", HelpName = "FILE" };
    private readonly Option<string?> _stats = new("--stats") { Description = "Use statistics that --save-stats wrote; the model is not run.", HelpName = "FILE" };
    private readonly Option<string?> _save = new("--save-stats") { Description = "Write the statistics to a file, for --stats.", HelpName = "FILE" };

    /// <summary>Adds the options to a verb.</summary>
    public void AddTo(Command command)
    {
        foreach (var option in (ReadOnlySpan<Option>)[_text, _tokens, _stats, _save]) command.Options.Add(option);
    }

    /// <summary>Whether a source is given, or statistics are to be saved.</summary>
    public bool AreGiven(ParseResult arguments) => Given(arguments) is not null || arguments.GetValue(_save) is not null;

    /// <summary>Whether the source is a file of statistics.</summary>
    public bool AreSaved(ParseResult arguments) => arguments.GetValue(_stats) is not null;

    /// <summary>Checks the combination without touching a file of any size.</summary>
    /// <param name="arguments">The parsed command line.</param>
    /// <param name="algorithm">The algorithm, where the command line settles it and it uses no statistics; else null.</param>
    /// <exception cref="UsageException">Several sources, a file that is not there, or a source for an algorithm that uses none.</exception>
    public void Validate(ParseResult arguments, string? algorithm)
    {
        var sources = new[] { _text, _tokens, _stats }.Where(option => arguments.GetValue(option) is not null).ToList();
        if (sources.Count > 1) throw new UsageException($"{sources[0].Name} and {sources[1].Name} exclude each other: one source of statistics");
        if (arguments.GetValue(_stats) is not null && arguments.GetValue(_save) is not null) throw new UsageException("--stats and --save-stats exclude each other: nothing is gathered");
        var option = Given(arguments) ?? (arguments.GetValue(_save) is null ? null : _save);
        if (option is not null && algorithm is not null) throw new UsageException($"{option.Name} does not go with algorithm '{algorithm}', which uses no statistics");
        if (sources is [var source] && !File.Exists(arguments.GetValue(source))) throw new UsageException($"no such file: {arguments.GetValue(source)}");
    }

    /// <summary>Reads the source.</summary>
    /// <param name="arguments">The parsed command line.</param>
    /// <param name="modelFile">The model; the tokenizer is beside it.</param>
    /// <param name="options">How statistics are gathered; its text is written where no source is given.</param>
    public CalibrationOptions Read(ParseResult arguments, string modelFile, CalibrationOptions options)
    {
        options = options with { SaveTo = arguments.GetValue(_save), Required = options.Required || Given(arguments) is not null };
        if (Statistics(arguments) is { } statistics) return options with { Statistics = statistics };
        if (arguments.GetValue(_tokens) is { } tokens) return options with { Sequences = Cut(TokenSequences.ReadTokenFile(tokens)), Source = tokens };
        if (arguments.GetValue(_text) is { } text) return options with { Sequences = Cut(Tokenize(text, modelFile)), Source = text };
        return options;
    }

    /// <summary>The statistics that --stats names; null without.</summary>
    public StatisticsFile? Statistics(ParseResult arguments) => arguments.GetValue(_stats) is { } stats ? StatisticsFile.Read(stats) : null;

    private static IReadOnlyList<long[]> Cut(IReadOnlyList<long> ids) =>
        TokenSequences.FromIds(ids, new SequenceOptions { Context = Context, MaxTokens = MaxTokens });

    private static long[] Tokenize(string text, string modelFile)
    {
        // No token is longer than this in the mean: what lies beyond is not needed.
        const int MostCharacters = MaxTokens * 16;
        using var tokenizer = Tokenizer.Open(Path.GetDirectoryName(Path.GetFullPath(modelFile))!);
        using var reader = new StreamReader(text);
        var characters = new char[MostCharacters];
        return tokenizer.Encode(new string(characters, 0, reader.ReadBlock(characters)), beginOfSequence: false);
    }

    private Option? Given(ParseResult arguments) => new[] { _text, _tokens, _stats }.FirstOrDefault(option => arguments.GetValue(option) is not null);
}
