using System.CommandLine;
using System.Text;
using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Cli.Commands;

/// <summary><c>ortquant generate</c>: continues a prompt, streaming the text.</summary>
internal sealed class GenerateCommand : ToolCommand
{
    private readonly Argument<string> _model = CommonArguments.Model();
    private readonly Option<string?> _tokenizer = new("--tokenizer") { Description = "A folder with tokenizer.json (default: the model's).", HelpName = "DIR" };
    private readonly Option<string> _prompt = new("--prompt") { Description = "The text to continue.", HelpName = "TEXT", Required = true };
    private readonly Option<bool> _chat = new("--chat") { Description = "Wrap the prompt in the ChatML template and answer it." };
    private readonly Option<int> _maxNewTokens = CommonArguments.Positive("--max-new-tokens", 128, "Tokens to add at most.");
    private readonly Option<double> _temperature = new("--temperature") { Description = "0 takes the most likely token; higher draws more freely.", HelpName = "T" };
    private readonly Option<int> _seed = new("--seed") { Description = "The same seed draws the same text.", HelpName = "S" };
    private readonly Option<int> _threads = CommonArguments.Threads();
    private readonly Option<bool> _noLibrary = CommonArguments.NoLibrary();

    /// <summary>Declares the verb.</summary>
    public GenerateCommand()
        : base(
            "generate",
            "Continue a prompt and report the speed.",
            "ortquant generate models/stories260k --prompt 'Once upon a time'",
            "ortquant generate out/smollm2 --chat --prompt 'What is the capital of France?' --max-new-tokens 64",
            "ortquant generate out/model.onnx --tokenizer model --prompt 'Dear diary,' --temperature 0.8 --seed 7")
    {
        Arguments.Add(_model);
        foreach (var option in (ReadOnlySpan<Option>)[_tokenizer, _prompt, _chat, _maxNewTokens, _temperature, _seed, _threads, _noLibrary])
        {
            Options.Add(option);
        }
    }

    /// <inheritdoc/>
    protected override Task<int> RunAsync(ParseResult arguments, CommandContext context)
    {
        var temperature = arguments.GetValue(_temperature);
        if (!double.IsFinite(temperature) || temperature < 0)
        {
            throw new UsageException($"--temperature is {temperature}; it must be 0 or more");
        }

        var path = ModelPath.Resolve(arguments.GetValue(_model)!);
        using var tokenizer = Tokenizer.Open(arguments.GetValue(_tokenizer) ?? Path.GetDirectoryName(path.File)!);
        var prompt = arguments.GetValue(_prompt)!;
        var ids = tokenizer.Encode(arguments.GetValue(_chat) ? ChatTemplate.Apply(prompt, tokenizer.File) : prompt);
        context.Cancellation.ThrowIfCancellationRequested();
        using var model = LanguageModel.Open(
            path.File, new SessionSettings { Threads = arguments.GetValue(_threads), UseLibrary = !arguments.GetValue(_noLibrary) });
        var options = new GenerationOptions
        {
            MaxNewTokens = arguments.GetValue(_maxNewTokens),
            Temperature = temperature,
            Seed = arguments.GetValue(_seed),
            EndOfSequence = EndOfSequence(model, tokenizer.File),
        };

        var text = new StringBuilder();
        var decoder = new TokenDecoder(tokenizer.File);
        void Write(string piece)
        {
            text.Append(piece);
            context.Text.Write(piece);
        }

        var result = TextGenerator.Generate(model, ids, options, id => Write(decoder.Append(id)), context.Cancellation);
        Write(decoder.Flush());
        Report(context, result, text.ToString());
        return Task.FromResult(ExitCode.Ok);
    }

    private static IReadOnlyCollection<long> EndOfSequence(LanguageModel model, TokenizerFile tokenizer) =>
        model.Configuration.EndOfSequence is { Count: > 0 } ids ? ids : tokenizer.EndOfSequence is { } id ? [id] : [];

    // The text itself went out token by token; what is left for a reader are the numbers, and they are no part of it.
    private static void Report(CommandContext context, GenerationResult result, string text)
    {
        context.WriteResult(
            () => new JsonObject
            {
                ["text"] = text,
                ["tokens"] = new JsonArray([.. result.Tokens.Select(id => (JsonNode)id)]),
                ["prompt_tokens"] = result.PromptTokens,
                ["new_tokens"] = result.Tokens.Count,
                ["prefill_tokens_per_s"] = JsonNumber.Of(result.PrefillTokensPerSecond, 2),
                ["decode_tokens_per_s"] = JsonNumber.Of(result.DecodeTokensPerSecond, 2),
                ["stop_reason"] = result.StoppedAtEnd ? "end_of_sequence" : "length",
            },
            output => output.WriteLine());
        if (!context.Json)
        {
            var decode = result.DecodeTokensPerSecond is { } speed ? $"{speed:0.0} tokens/s" : "not measured";
            context.Log($"prefill {result.PromptTokens} tokens, {result.PrefillTokensPerSecond:0.0} tokens/s; decode {result.Tokens.Count} tokens, {decode}");
        }
    }
}
