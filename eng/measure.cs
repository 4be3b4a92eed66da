#:property PublishAot=false
// Measures real models with the ortquant tool and writes the table in README.md. Run it with eng/measure.sh.
//
//   eng/measure.sh --text FILE [--max-tokens N] [--prompt N] [--new N] [--repeat N] NAME=FOLDER...
//
// For each FP16 model folder (with its tokenizer): the original, ONNX Runtime's own MatMulNBits after the same plan, and
// OrtQuant's default and 8-bit rewrites: size, perplexity on the text, decoding speed on 1 and 2 threads in one process,
// anonymous memory.

using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;

const string Begin = "<!-- measured:begin -->";
const string End = "<!-- measured:end -->";

var root = args[0];
string? text = null;
var (maxTokens, prompt, newTokens, repeat) = ("20480", "512", "128", "5");
var models = new List<(string Name, string Folder)>();
for (var i = 1; i < args.Length; i++)
{
    switch (args[i])
    {
        case "--text": text = args[++i]; break;
        case "--max-tokens": maxTokens = args[++i]; break;
        case "--prompt": prompt = args[++i]; break;
        case "--new": newTokens = args[++i]; break;
        case "--repeat": repeat = args[++i]; break;
        case var model when model.Contains('='): models.Add((model[..model.IndexOf('=')], model[(model.IndexOf('=') + 1)..])); break;
        default: return Usage($"unknown argument '{args[i]}'");
    }
}

if (text is null || models.Count == 0)
{
    return Usage("a text and at least one model are needed");
}

var table = new StringBuilder();
table.AppendLine("| model | weights | MB | perplexity | tokens/s, 1 thread | tokens/s, 2 threads | memory MB |");
table.AppendLine("|---|---|--:|--:|--:|--:|--:|");
var work = Directory.CreateTempSubdirectory("ortquant-measure-").FullName;
string? processor = null;
try
{
    foreach (var (name, folder) in models)
    {
        var variants = new List<(string Title, string Folder)> { ("FP16, the original", folder) };
        foreach (var (title, options) in new[]
        {
            ("ONNX Runtime's 4-bit `MatMulNBits`", new[] { "--emit", "microsoft", "--quality", "fast" }),
            ("**OrtQuant 4-bit** (default)", []),
            ("OrtQuant 4-bit, `--quality fast`", ["--quality", "fast"]),
            ("OrtQuant 8-bit, group 32", ["--bits", "8", "--group-size", "32"]),
        })
        {
            var output = Path.Combine(work, $"{models.IndexOf((name, folder))}-{variants.Count}", Path.GetFileName(folder.TrimEnd('/')));
            Tool(["rewrite", folder, "-o", output, .. options]);
            variants.Add((title, output));
        }

        var speed = new[] { 1, 2 }.Select(threads => Speed(variants, threads)).ToArray();
        for (var i = 0; i < variants.Count; i++)
        {
            var (title, variant) = variants[i];
            var perplexity = Tool("perplexity", variant, "--text", text, "--tokenizer", folder, "--max-tokens", maxTokens)["perplexity"]!;
            table.AppendLine(
                CultureInfo.InvariantCulture,
                $"| {name} | {title} | {Bytes(variant) / 1e6:F1} | {perplexity.GetValue<double>():F2} | {speed[0][i].Decode:F1} | {speed[1][i].Decode:F1} | {speed[0][i].Memory / 1e6:F0} |");
        }
    }
}
finally
{
    Directory.Delete(work, recursive: true);
}

table.AppendLine();
table.AppendLine(CultureInfo.InvariantCulture, $"Perplexity on the first {maxTokens} tokens of `{Path.GetFileName(text)}`; tokens per second while decoding {newTokens} tokens after a prompt of {prompt}, all");
table.AppendLine(CultureInfo.InvariantCulture, $"variants alternating in one process on {processor}; memory is anonymous, without the mapped weights.");
table.AppendLine($"`eng/measure.sh --text {Path.GetFileName(text)} --max-tokens {maxTokens} --prompt {prompt} --new {newTokens} --repeat {repeat} {string.Join(' ', models.Select(m => $"\"{m.Name}=FOLDER\""))}` writes this table.");

var readme = Path.Combine(root, "README.md");
var page = File.ReadAllText(readme);
var (begin, end) = (page.IndexOf(Begin, StringComparison.Ordinal) + Begin.Length, page.IndexOf(End, StringComparison.Ordinal));
File.WriteAllText(readme, $"{page[..begin]}\n{table}{page[end..]}");
Console.Write(table);
return 0;

(double Decode, double Memory)[] Speed(List<(string Title, string Folder)> variants, int threads)
{
    var result = Tool(["bench", "model", .. variants.Select(v => v.Folder), "--threads", $"{threads}", "--prompt", prompt, "--new", newTokens, "--repeat", repeat]);
    processor = result["machine"]!["processor"]!.GetValue<string>();
    return [.. result["models"]!.AsArray().Select(row =>
        (row!["decode_tokens_per_s"]!.GetValue<double>(), row["rss_anonymous_bytes"]?.GetValue<double>() ?? double.NaN))];
}

JsonNode Tool(params string[] arguments)
{
    Console.Error.WriteLine($"==> ortquant {string.Join(' ', arguments)}");
    var start = new ProcessStartInfo(Path.Combine(root, "ortquant"), [.. arguments, "--json"]) { RedirectStandardOutput = true };
    using var process = Process.Start(start)!;
    var output = process.StandardOutput.ReadToEnd();
    process.WaitForExit();
    return process.ExitCode == 0
        ? JsonNode.Parse(output)!
        : throw new InvalidOperationException($"ortquant {string.Join(' ', arguments)} ended with exit code {process.ExitCode}");
}

static long Bytes(string folder) =>
    Directory.EnumerateFiles(folder).Where(f => Path.GetFileName(f).Contains(".onnx", StringComparison.Ordinal)).Sum(f => new FileInfo(f).Length);

static int Usage(string problem)
{
    Console.Error.WriteLine($"error: {problem}\nusage: eng/measure.sh --text FILE [--max-tokens N] [--prompt N] [--new N] [--repeat N] NAME=FOLDER...");
    return 2;
}
