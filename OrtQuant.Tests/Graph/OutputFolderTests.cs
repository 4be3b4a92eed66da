using OrtQuant.GraphRewriter.Graph;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Graphs;

[TestClass]
public sealed class OutputFolderTests
{
    [TestMethod]
    public void FolderAppearsWithCommitOnly()
    {
        using var parent = new TemporaryFolder();
        var target = Path.Combine(parent.Path, "model");
        using (var folder = OutputFolder.Begin(target))
        {
            File.WriteAllText(Path.Combine(folder.Path, "config.json"), "{}");
            Assert.IsFalse(Directory.Exists(target));
            folder.Commit();
        }

        Assert.AreEqual("{}", File.ReadAllText(Path.Combine(target, "config.json")));
        Assert.HasCount(1, Directory.GetFileSystemEntries(parent.Path));
    }

    [TestMethod]
    public void FolderWithoutCommitLeavesNothing()
    {
        using var parent = new TemporaryFolder();
        using (var folder = OutputFolder.Begin(Path.Combine(parent.Path, "model"))) File.WriteAllText(Path.Combine(folder.Path, "config.json"), "{}");
        Assert.IsEmpty(Directory.GetFileSystemEntries(parent.Path));
    }

    [TestMethod]
    public void FolderThatExistsIsFilledInPlace()
    {
        using var parent = new TemporaryFolder();
        var target = Path.GetDirectoryName(parent.File("model", "old.json"))!;
        using var folder = OutputFolder.Begin(target);
        Assert.AreEqual(target, folder.Path);
    }

    [TestMethod]
    public void LeftoverOfAKilledProcessGoesAndOneAtWorkStays()
    {
        using var parent = new TemporaryFolder();
        var stale = Path.GetDirectoryName(parent.File(".ortquant-0123.folder", "config.json"))!;
        File.WriteAllText(Path.Combine(stale, "config.json"), "{}");
        using var first = OutputFolder.Begin(Path.Combine(parent.Path, "first"));
        using var second = OutputFolder.Begin(Path.Combine(parent.Path, "second"));
        Assert.IsFalse(Directory.Exists(stale));
        Assert.IsTrue(Directory.Exists(first.Path));
        Assert.IsTrue(Directory.Exists(second.Path));
    }
}
