using System.Diagnostics;
using System.Security.Cryptography;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.ModelGenerator;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.EndToEnd;

/// <summary>The tool is killed (SIGKILL) at random moments while it writes over an output that is there.</summary>
[TestClass]
public sealed class KilledRewriteTests
{
    private const int Kills = 20;

    // Large enough for an external data file, small enough for one run in a second or two.
    private static readonly LlamaShape Shape = new(
        Layers: 3, Hidden: 512, FeedForward: 1536, Heads: 8, KeyValueHeads: 4, Vocabulary: 24000, Positions: 64, Tied: false);

    [TestMethod]
    public void OldOrNewOutputIsUsable()
    {
        using var folder = new TemporaryFolder();
        ModelFiles.Write(folder.File("model"), Shape, GraphForm.Genai, seed: 1);
        var model = folder.File("model", "model.onnx");
        Rewrite(model, folder.File("old", "model.onnx"), "8").ShouldSucceed();
        var watch = Stopwatch.StartNew();
        Rewrite(model, folder.File("new", "model.onnx"), "4").ShouldSucceed();
        var whole = watch.Elapsed;

        var target = folder.File("target", "model.onnx");
        foreach (var file in Directory.GetFiles(folder.File("old"))) File.Copy(file, folder.File("target", Path.GetFileName(file)));
        var (old, changed) = (Hash(folder.File("old", "model.onnx")), Hash(folder.File("new", "model.onnx")));
        Assert.AreNotEqual(old, changed);
        var random = new Random(11);
        for (var i = 0; i < Kills; i++)
        {
            KillAfter(whole * random.NextDouble(), model, target);
            var graph = Hash(target);
            Assert.IsTrue(graph == old || graph == changed, $"kill {i} left half a graph");
            using var left = OnnxModel.Load(target);
            var data = left.ExternalFiles.Single();
            StringAssert.Contains(data, Hash(data)[..16].ToLowerInvariant(), $"kill {i} left data that is not what its name says");
        }

        // The next run to its end leaves nothing of the killed ones behind.
        Rewrite(model, target, "4").ShouldSucceed();
        CollectionAssert.AreEquivalent(Names(folder.File("new")), Names(folder.File("target")));
    }

    private static ProcessResult Rewrite(string model, string output, string bits) => Tool.Run("rewrite", model, "-o", output, "--bits", bits, "--quality", "fast");

    private static void KillAfter(TimeSpan delay, string model, string target)
    {
        using var process = Process.Start(new ProcessStartInfo("dotnet", [Tool.Assembly, "rewrite", model, "-o", target, "--bits", "4", "--quality", "fast"])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        if (!process.WaitForExit(delay)) process.Kill(entireProcessTree: true);
        process.WaitForExit();
    }

    private static string[] Names(string folder) => [.. Directory.GetFiles(folder).Select(path => Path.GetFileName(path))];

    private static string Hash(string path) => Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(path)));
}
