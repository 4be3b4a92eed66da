using Onnx;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Graphs;

[TestClass]
public sealed class ModelWriterTests
{
    private static readonly SaveOptions External = new() { Placement = DataPlacement.External };

    [TestMethod]
    public void LargeTensorsStartOnPagesAndSmallOnesOnLines()
    {
        using var folder = new TemporaryFolder();
        using var model = OnnxModel.FromProto(new ModelBuilder().Input("x", ElementType.Float32, 1)
            .Weight("tiny", ElementType.Float32, 1, 3).Weight("small", ElementType.Float32, 2, 513)
            .Weight("large", ElementType.Float32, 3, 1 << 18).Weight("last", ElementType.Float32, 4, 999)
            .Node("Sum", ["x", "tiny", "small", "large", "last"], ["y"]).Output("y", ElementType.Float32, 1).Proto);
        var saved = ModelWriter.Save(model, folder.File("model.onnx"), External);
        var tensors = ModelProto.Parser.ParseFrom(File.ReadAllBytes(saved.GraphPath)).Graph.Initializer.ToDictionary(tensor => tensor.Name);
        Assert.AreEqual(12, tensors["tiny"].RawData.Length);
        Assert.AreEqual(0L, Offset(tensors["small"]));
        Assert.AreEqual(4096L, Offset(tensors["large"]));
        Assert.AreEqual(4096L + (1 << 20), Offset(tensors["last"]));
        Assert.AreEqual(4096L + (1 << 20) + (999 * 4), new FileInfo(saved.DataPath!).Length);
        Assert.AreEqual(saved.Bytes, new FileInfo(saved.DataPath!).Length + new FileInfo(saved.GraphPath).Length);
    }

    [TestMethod]
    public void ShapesStayInTheGraph()
    {
        using var folder = new TemporaryFolder();
        using var model = OnnxModel.FromProto(new ModelBuilder().Input("x", ElementType.Int64, 1)
            .Initializer(ModelBuilder.Tensor("v", ElementType.Int64, [300], new float[300])).Node("Add", ["x", "v"], ["y"]).Output("y", ElementType.Int64, 300).Proto);
        Assert.IsNull(ModelWriter.Save(model, folder.File("model.onnx"), External).DataPath);
    }

    [TestMethod]
    public void TensorsOfOneProducerComeFromOneCall()
    {
        using var folder = new TemporaryFolder();
        var calls = 0;
        using var model = Generated((data, _) =>
        {
            calls++;
            for (var i = 0; i < data.Count; i++) data[i].Span.Fill((byte)(i + 1));
        });
        foreach (var placement in new[] { DataPlacement.External, DataPlacement.Inline })
        {
            calls = 0;
            var path = folder.File($"{placement}.onnx");
            ModelWriter.Save(model, path, new SaveOptions { Placement = placement });
            Assert.AreEqual(1, calls);
            using var saved = OnnxModel.Load(path);
            Assert.IsTrue(saved.Graph.Find("a")!.Constant!.ReadBytes().All(value => value == 1));
            Assert.IsTrue(saved.Graph.Find("b")!.Constant!.ReadBytes().All(value => value == 2));
            Assert.AreEqual(5000L, saved.Graph.Find("b")!.Constant!.ByteLength);
        }
    }

    [TestMethod]
    public void EqualModelsHaveEqualBytes()
    {
        using var folder = new TemporaryFolder();
        var path = GraphFixtures.Get("external-files").Write(folder.File("in"));
        foreach (var name in new[] { "first", "second" })
        {
            using var model = OnnxModel.Load(path);
            ModelWriter.Save(model, folder.File(name, "model.onnx"), External);
        }

        var (first, second) = (Directory.GetFiles(folder.File("first")).Order().ToArray(), Directory.GetFiles(folder.File("second")).Order().ToArray());
        CollectionAssert.AreEqual(first.Select(Path.GetFileName).ToArray(), second.Select(Path.GetFileName).ToArray());
        foreach (var (a, b) in first.Zip(second)) CollectionAssert.AreEqual(File.ReadAllBytes(a), File.ReadAllBytes(b));
    }

    [TestMethod]
    public void MetadataAndUnknownFieldsSurvive()
    {
        using var folder = new TemporaryFolder();
        var proto = GraphFixtures.ConstantWeights().Proto;
        proto.ProducerName = "exporter";
        proto.MetadataProps.Add(new StringStringEntryProto { Key = "key", Value = "value" });
        var path = folder.File("in.onnx");

        // Field 4000, a string: what a later version of the format might add.
        File.WriteAllBytes(path, [.. Google.Protobuf.MessageExtensions.ToByteArray(proto), 0x82, 0xFA, 0x01, 3, (byte)'n', (byte)'e', (byte)'w']);
        using (var model = OnnxModel.Load(path)) ModelWriter.Save(model, folder.File("out.onnx"));
        var bytes = File.ReadAllBytes(folder.File("out.onnx"));
        Assert.IsGreaterThanOrEqualTo(0, bytes.AsSpan().IndexOf(new byte[] { 0x82, 0xFA, 0x01, 3, 0x6E, 0x65, 0x77 }));
        var saved = ModelProto.Parser.ParseFrom(bytes);
        Assert.AreEqual("exporter", saved.ProducerName);
        Assert.AreEqual("value", saved.MetadataProps.Single().Value);
    }

    [TestMethod]
    public void FailureLeavesTheOldOutputAndNothingElse()
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("out", "model.onnx");
        using (var old = OnnxModel.FromProto(GraphFixtures.ConstantWeights().Proto)) ModelWriter.Save(old, path, External);
        var before = Contents(folder.File("out"));

        using var failing = Generated((_, _) => throw new OrtQuantException("weight 'a' is not finite"));
        Assert.ThrowsExactly<OrtQuantException>(() => ModelWriter.Save(failing, path, External));
        Assert.AreEqual(before, Contents(folder.File("out")));

        using var source = new CancellationTokenSource();
        using var cancelled = Generated((_, _) => source.Cancel());
        Assert.ThrowsExactly<OperationCanceledException>(() => ModelWriter.Save(cancelled, path, External with { Cancellation = source.Token }));
        Assert.AreEqual(before, Contents(folder.File("out")));
    }

    [TestMethod]
    public void NewOutputTakesThePlaceOfTheOldOne()
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("out", "model.onnx");
        using (var old = Generated((data, _) => data[0].Span.Fill(1))) ModelWriter.Save(old, path, External);
        var oldData = Directory.GetFiles(folder.File("out"), "*.data").Single();
        File.WriteAllBytes(folder.File("out", "model.onnx.data"), [1]);
        using (var model = Generated((data, _) => data[0].Span.Fill(2))) ModelWriter.Save(model, path, External);
        Assert.IsFalse(File.Exists(oldData));
        Assert.IsTrue(File.Exists(folder.File("out", "model.onnx.data")), "a file that no save has named is not ours");
        Assert.HasCount(3, Directory.GetFiles(folder.File("out")));
    }

    [TestMethod]
    public void DataThatAnotherModelReadsStays()
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("out", "model.onnx");
        using (var old = Generated((data, _) => data[0].Span.Fill(1))) ModelWriter.Save(old, path, External);
        File.Copy(path, folder.File("out", "kept.onnx"));
        using (var model = Generated((data, _) => data[0].Span.Fill(2))) ModelWriter.Save(model, path, External);
        using var kept = OnnxModel.Load(folder.File("out", "kept.onnx"));
        Assert.AreEqual(1, kept.Graph.Find("a")!.Constant!.ReadBytes()[0]);
    }

    [TestMethod]
    public void LeftoversOfKilledSavesGo()
    {
        using var folder = new TemporaryFolder();
        var stale = folder.File(".ortquant-0123456789abcdef.tmp");
        var live = folder.File(".ortquant-fedcba9876543210.tmp");
        File.WriteAllText(stale, "half a model");
        using (new FileStream(live, FileMode.CreateNew, FileAccess.Write, FileShare.None))
        {
            using var model = OnnxModel.FromProto(GraphFixtures.ConstantWeights().Proto);
            ModelWriter.Save(model, folder.File("model.onnx"));
            Assert.IsFalse(File.Exists(stale));
            Assert.IsTrue(File.Exists(live), "another process is writing it");
        }
    }

    [TestMethod]
    public void OutputThatIsTheInputIsRefused()
    {
        using var folder = new TemporaryFolder();
        var path = GraphFixtures.Get("external-files").Write(folder.Path);
        File.CreateSymbolicLink(folder.File("link.onnx"), path);
        using var model = OnnxModel.Load(path);
        var before = Contents(folder.Path);
        foreach (var target in new[] { path, folder.File("link.onnx"), folder.File("first.bin") })
        {
            var error = Assert.ThrowsExactly<IOException>(() => ModelWriter.Save(model, target));
            StringAssert.Contains(error.Message, "the output is the input itself");
        }

        Assert.AreEqual(before, Contents(folder.Path));
    }

    [TestMethod]
    public void WhatIsNoModelIsNotReplaced()
    {
        using var folder = new TemporaryFolder();
        var document = folder.File("notes.txt");
        File.WriteAllText(document, "mine");
        using var model = OnnxModel.FromProto(GraphFixtures.ConstantWeights().Proto);
        var error = Assert.ThrowsExactly<IOException>(() => ModelWriter.Save(model, document));
        StringAssert.Contains(error.Message, "it exists and is no .onnx file");
        Assert.AreEqual("mine", File.ReadAllText(document));
        Assert.ThrowsExactly<IOException>(() => ModelWriter.Save(model, folder.Path + "/none/"));
    }

    [TestMethod]
    public void FolderIsNoOutputFile()
    {
        using var folder = new TemporaryFolder();
        using var model = OnnxModel.FromProto(GraphFixtures.ConstantWeights().Proto);
        var error = Assert.ThrowsExactly<IOException>(() => ModelWriter.Save(model, folder.Path));
        StringAssert.Contains(error.Message, "it is a folder");
    }

    [TestMethod]
    public void FullDiskIsNoticedBeforeTheWork()
    {
        using var folder = new TemporaryFolder();
        var disk = folder.File("disk", "x");
        disk = Path.GetDirectoryName(disk)!;
        if (!OperatingSystem.IsLinux() || ProcessRunner.Run("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]).ExitCode != 0)
        {
            Assert.Inconclusive("A small disk needs the right to mount one.");
        }

        try
        {
            var path = Path.Combine(disk, "model.onnx");
            using (var small = OnnxModel.FromProto(GraphFixtures.ConstantWeights().Proto)) ModelWriter.Save(small, path, External);
            var before = Contents(disk);
            using var model = Generated((_, _) => Assert.Fail("the work began"), bytes: 2 << 20);
            var error = Assert.ThrowsExactly<IOException>(() => ModelWriter.Save(model, path, External));
            StringAssert.Contains(error.Message, $"cannot write '{path}': it needs 2102");
            Assert.IsFalse(error.Message.Contains('\n'), error.Message);
            Assert.AreEqual(before, Contents(disk));
            using (OnnxModel.Load(path))
            {
            }
        }
        finally
        {
            ProcessRunner.Run("umount", [disk]).ShouldSucceed();
        }
    }

    /// <summary>A model with two tensors, a and b, of one producer.</summary>
    private static OnnxModel Generated(Action<IReadOnlyList<Memory<byte>>, CancellationToken> produce, int bytes = 3000)
    {
        var model = OnnxModel.FromProto(new ModelBuilder().Input("x", ElementType.UInt8, 1).Node("Neg", ["x"], ["y"]).Output("y", ElementType.UInt8, 1).Proto);
        var producer = new TensorProducer([(ElementType.UInt8, [bytes]), (ElementType.UInt8, [5000])], produce);
        model.Graph.AddInitializer("a", producer.Tensors[0]);
        model.Graph.AddInitializer("b", producer.Tensors[1]);
        return model;
    }

    private static long Offset(TensorProto tensor) =>
        long.Parse(tensor.ExternalData.Single(entry => entry.Key == "offset").Value);

    private static string Contents(string folder) => string.Join('\n', Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Order()
        .Select(path => $"{Path.GetFileName(path)} {Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(path)))}"));
}
