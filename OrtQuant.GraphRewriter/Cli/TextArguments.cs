using System.CommandLine;
using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Cli;

/// <summary>The options that say which text a measurement runs on: <c>--text FILE --tokenizer DIR</c> or <c>--tokens FILE</c>, and how it is cut.</summary>
internal sealed class TextArguments
{
    private readonly Option<string?> _text = new("--text") { Description = "A UTF-8 text file; needs --tokenizer.", HelpName = "FILE" };
    private readonly Option<string?> _tokenizer = new("--tokenizer") { Description = "A folder with tokenizer.json and tokenizer_config.json.", HelpName = "DIR" };
    private readonly Option<string?> _tokens = new("--tokens") { Description = "A file of token ids: little-endian int32.", HelpName = "FILE" };
    private readonly Option<int> _context = CommonArguments.Positive("--context", 512, "Ids of a sequence at most; sequences are independent.");
    private readonly Option<long?> _maxTokens = new("--max-tokens") { Description = "Use only the first N ids.", HelpName = "N" };
    private readonly Option<bool> _bos = new("--bos") { Description = "Begin every sequence with the begin-of-sequence id." };
    private readonly Option<string?> _separator = new("--separator")
    {
        Description = "The text is documents divided by this string: one sequence each, cut at --context.",
        HelpName = "STRING",
    };

    /// <summary>Adds the options to a verb.</summary>
    public void AddTo(Command command)
    {
        foreach (var option in (ReadOnlySpan<Option>)[_text, _tokenizer, _tokens, _context, _maxTokens, _bos, _separator])
        {
            command.Options.Add(option);
        }
    }

    /// <summary>Whether a text or ids are given at all.</summary>
    public bool AreGiven(ParseResult arguments) => arguments.GetValue(_text) is not null || arguments.GetValue(_tokens) is not null;

    /// <summary>The file that the text or ids come from, for reports; null where none is given.</summary>
    public string? Describe(ParseResult arguments) => Path.GetFileName(arguments.GetValue(_text) ?? arguments.GetValue(_tokens));

    /// <summary>Most ids to use; null for all.</summary>
    public long? MaxTokens(ParseResult arguments) => arguments.GetValue(_maxTokens);

    /// <summary>Checks the combination without touching a file, so that bad usage is said at once.</summary>
    /// <param name="arguments">The parsed command line.</param>
    /// <exception cref="UsageException">Text and ids, text without tokenizer, or a separator for ids.</exception>
    public void Validate(ParseResult arguments)
    {
        var (text, tokens, tokenizer) = (arguments.GetValue(_text), arguments.GetValue(_tokens), arguments.GetValue(_tokenizer));
        Require(text is null || tokens is null, "--text and --tokens exclude each other");
        Require(text is null || tokenizer is not null, "--text needs --tokenizer DIR");
        Require(tokens is null || arguments.GetValue(_separator) is null, "--separator divides a text; it does not go with --tokens");
        Require(arguments.GetValue(_separator) is not "", "--separator is empty");
        Require(tokens is null || !arguments.GetValue(_bos) || tokenizer is not null, "--bos with --tokens needs --tokenizer DIR, which knows the id");
        Require(arguments.GetValue(_context) >= 2, $"--context is {arguments.GetValue(_context)}; it must be at least 2");
        Require(arguments.GetValue(_maxTokens) is null or >= 2, $"--max-tokens is {arguments.GetValue(_maxTokens)}; it must be at least 2");
        RequireFile(text);
        RequireFile(tokens);
    }

    /// <summary>Reads the text or ids and cuts them.</summary>
    public IReadOnlyList<long[]> Read(ParseResult arguments)
    {
        var options = new SequenceOptions
        {
            Context = arguments.GetValue(_context),
            MaxTokens = arguments.GetValue(_maxTokens),
            BeginOfSequence = arguments.GetValue(_bos),
            Separator = arguments.GetValue(_separator),
        };
        var tokenizerFolder = arguments.GetValue(_tokenizer);
        if (arguments.GetValue(_tokens) is { } tokens)
        {
            long? begin = options.BeginOfSequence
                ? TokenizerFile.Read(tokenizerFolder!).BeginOfSequence ?? throw new RunningException($"tokenizer_config.json in {tokenizerFolder} names no bos_token")
                : null;
            return TokenSequences.FromIds(TokenSequences.ReadTokenFile(tokens), options, begin);
        }

        using var tokenizer = Tokenizer.Open(tokenizerFolder!);
        return TokenSequences.FromText(File.ReadAllText(arguments.GetValue(_text)!), tokenizer, options);
    }

    private static void Require(bool condition, string message)
    {
        if (!condition)
        {
            throw new UsageException(message);
        }
    }

    private static void RequireFile(string? path) => Require(path is null || File.Exists(path), $"no such file: {path}");
}
