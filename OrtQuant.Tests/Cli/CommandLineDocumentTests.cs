using System.CommandLine;
using OrtQuant.GraphRewriter.Cli;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Cli;

/// <summary>docs/command-line.md says what the command line has.</summary>
[TestClass]
public sealed class CommandLineDocumentTests
{
    [TestMethod]
    public void EveryVerbAndOptionIsDocumented()
    {
        var page = File.ReadAllText(Path.Combine(TestFiles.Root, "docs", "command-line.md"));

        var root = CommandLine.CreateRoot();

        var missing = root.Subcommands.SelectMany(Verbs)
            .SelectMany(verb => verb.Options.Select(option => option.Name).Append(verb.Name))
            .Concat(root.Options.Select(option => option.Name))
            .Where(name => name is not ("--help" or "--version"))
            .Where(name => !page.Contains($"`{name}", StringComparison.Ordinal) && !page.Contains($"{name} ", StringComparison.Ordinal))
            .Distinct();

        Assert.AreEqual("", string.Join(", ", missing));
    }

    private static IEnumerable<Command> Verbs(Command command) => command.Subcommands.SelectMany(Verbs).Prepend(command);
}
