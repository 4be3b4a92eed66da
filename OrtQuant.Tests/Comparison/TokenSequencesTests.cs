using OrtQuant.GraphRewriter.Comparison;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Comparison;

[TestClass]
public sealed class TokenSequencesTests
{
    private static readonly long[] Ids = [.. Enumerable.Range(10, 10).Select(id => (long)id)];

    [TestMethod]
    public void CutsARunOfIdsIntoPieces()
    {
        var sequences = TokenSequences.FromIds(Ids, new SequenceOptions { Context = 4 });

        Assert.HasCount(3, sequences);
        CollectionAssert.AreEqual(new long[] { 10, 11, 12, 13 }, sequences[0]);
        CollectionAssert.AreEqual(new long[] { 18, 19 }, sequences[2]);
    }

    [TestMethod]
    public void LeavesOutAPieceWithNothingToScore()
    {
        Assert.HasCount(3, TokenSequences.FromIds(Ids, new SequenceOptions { Context = 3 }));
    }

    [TestMethod]
    public void BeginningIdCountsTowardsTheContext()
    {
        var sequences = TokenSequences.FromIds(Ids, new SequenceOptions { Context = 4 }, begin: 1);

        Assert.HasCount(4, sequences);
        CollectionAssert.AreEqual(new long[] { 1, 10, 11, 12 }, sequences[0]);
        CollectionAssert.AreEqual(new long[] { 1, 19 }, sequences[3]);
    }

    [TestMethod]
    public void MaxTokensCutsTheLastSequence()
    {
        var sequences = TokenSequences.FromIds(Ids, new SequenceOptions { Context = 4, MaxTokens = 6 });

        Assert.HasCount(2, sequences);
        CollectionAssert.AreEqual(new long[] { 14, 15 }, sequences[1]);
    }

    [TestMethod]
    public void SeparatorMakesOneSequenceADocument()
    {
        using var tokenizer = Tokenizer.Open(TestFiles.Stories260K);
        var options = new SequenceOptions { Context = 5, Separator = "###", BeginOfSequence = true };

        var sequences = TokenSequences.FromText("Once upon a time there was\n###\n\n###Once\n###\n", tokenizer, options);

        Assert.HasCount(2, sequences);
        CollectionAssert.AreEqual(new long[] { 1, 403, 407, 261, 378 }, sequences[0]);
        CollectionAssert.AreEqual(new long[] { 1, 403 }, sequences[1]);
    }

    [TestMethod]
    public void TextWithoutSeparatorIsOneRun()
    {
        using var tokenizer = Tokenizer.Open(TestFiles.Stories260K);

        var plain = TokenSequences.FromText("Once upon a time", tokenizer, new SequenceOptions { Context = 2 });
        var begun = TokenSequences.FromText("Once upon a time", tokenizer, new SequenceOptions { Context = 3, BeginOfSequence = true });

        CollectionAssert.AreEqual(new long[] { 403, 407 }, plain[0]);
        CollectionAssert.AreEqual(new long[] { 261, 378 }, plain[1]);
        CollectionAssert.AreEqual(new long[] { 1, 261, 378 }, begun[1]);
    }

    [TestMethod]
    public void TokenFileIsLittleEndianInt32()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder.File("ok"), [1, 0, 0, 0, 0, 1, 0, 0]);
        File.WriteAllBytes(folder.File("short"), [1, 0, 0]);
        File.WriteAllBytes(folder.File("negative"), [255, 255, 255, 255]);

        CollectionAssert.AreEqual(new long[] { 1, 256 }, TokenSequences.ReadTokenFile(folder.File("ok")));
        Assert.Contains("3 bytes", Assert.ThrowsExactly<RunningException>(() => TokenSequences.ReadTokenFile(folder.File("short"))).Message);
        Assert.Contains("-1", Assert.ThrowsExactly<RunningException>(() => TokenSequences.ReadTokenFile(folder.File("negative"))).Message);
    }
}
