using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Transforms;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Graphs;

/// <summary>Every kind of graph is read, saved and turned to float32, and still computes what it did.</summary>
[TestClass]
public sealed class FixtureTests
{
    private static IEnumerable<object[]> Names => GraphFixtures.All.Select(fixture => new object[] { fixture.Name });

    [TestMethod]
    [DynamicData(nameof(Names))]
    public void SavedModelGivesTheSameBits(string name)
    {
        using var folder = new TemporaryFolder();
        var fixture = GraphFixtures.Get(name);
        var path = fixture.Write(folder.File("in"));
        foreach (var placement in new[] { DataPlacement.Inline, DataPlacement.External })
        {
            var saved = Path.Combine(folder.Path, $"{placement}", "model.onnx");
            using (var model = OnnxModel.Load(path)) ModelWriter.Save(model, saved, new SaveOptions { Placement = placement });
            using (OnnxModel.Load(saved))
            {
                if (fixture.Runs) CollectionAssert.AreEqual(FixtureRunner.Run(path), FixtureRunner.Run(saved));
            }
        }
    }

    [TestMethod]
    [DynamicData(nameof(Names))]
    public void Float32InsideKeepsTheInterface(string name)
    {
        using var folder = new TemporaryFolder();
        var fixture = GraphFixtures.Get(name);
        var path = fixture.Write(folder.File("in"));
        var (kept, changed) = (folder.File("kept", "model.onnx"), folder.File("changed", "model.onnx"));
        Convert(path, kept, convertInterface: false);
        Convert(path, changed, convertInterface: true);
        AssertSameInterface(path, kept);
        if (!fixture.Runs)
        {
            Assert.IsLessThan(1e-2, FixtureRunner.RelativeError(FixtureRunner.Run(changed), FixtureRunner.Run(kept)));
            return;
        }

        // Rounding of float16 activations: 2^-11 a step, a few steps deep.
        var expected = FixtureRunner.Run(path);
        Assert.IsLessThan(3e-3, FixtureRunner.RelativeError(expected, FixtureRunner.Run(kept)));
        Assert.IsLessThan(3e-3, FixtureRunner.RelativeError(expected, FixtureRunner.Run(changed)));
    }

    private static void Convert(string path, string saved, bool convertInterface)
    {
        using var model = OnnxModel.Load(path);
        Assert.IsTrue(HalfToFloat.IsNeeded(model));
        HalfToFloat.Run(model, convertInterface);
        ModelWriter.Save(model, saved);
        using var reloaded = OnnxModel.Load(saved);
        Assert.AreEqual(!convertInterface, HalfToFloat.IsNeeded(reloaded), "only the interface may be half");
    }

    private static void AssertSameInterface(string path, string saved)
    {
        using var before = OnnxModel.Load(path);
        using var after = OnnxModel.Load(saved);
        Assert.IsTrue(Inputs(before).SequenceEqual(Inputs(after)));
        Assert.IsTrue(before.Graph.Proto.Output.SequenceEqual(after.Graph.Proto.Output));
    }

    private static IEnumerable<Onnx.ValueInfoProto> Inputs(OnnxModel model) =>
        model.Graph.Proto.Input.Where(input => !model.Graph.Find(input.Name)!.IsInitializer);
}
