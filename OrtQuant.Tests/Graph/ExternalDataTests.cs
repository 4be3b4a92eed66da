using Onnx;
using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Graphs;

[TestClass]
public sealed class ExternalDataTests
{
    [TestMethod]
    [DataRow("../secret.bin", "outside the model's folder")]
    [DataRow("below/../../secret.bin", "outside the model's folder")]
    [DataRow("/etc/hostname", "outside the model's folder")]
    [DataRow("link.bin", "outside the model's folder")]
    [DataRow("linked/secret.bin", "outside the model's folder")]
    [DataRow("none.bin", "not in the model's folder")]
    [DataRow("below", "not in the model's folder")]
    [DataRow("", "names no file")]
    [DataRow("a\0b", "zero character")]
    [DataRow("short.bin", "which has 100")]
    public void LocationIsChecked(string location, string message)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder.File("secret.bin"), new byte[1 << 16]);
        File.WriteAllBytes(folder.File("model", "short.bin"), new byte[100]);
        Directory.CreateDirectory(folder.File("model", "below", "x"));
        File.CreateSymbolicLink(folder.File("model", "link.bin"), "../secret.bin");
        Directory.CreateSymbolicLink(folder.File("model", "linked"), "..");
        AssertRefused(folder, tensor => Set(tensor, "location", location), message);
    }

    [TestMethod]
    [DataRow("offset", "-1")]
    [DataRow("offset", "9223372036854775807")]
    [DataRow("offset", "99999999999999999999")]
    [DataRow("offset", "0x10")]
    [DataRow("offset", "")]
    [DataRow("length", "-1")]
    [DataRow("length", "9223372036854775807")]
    [DataRow("length", "3071")]
    public void NumberIsChecked(string key, string value)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder.File("model", "data.bin"), new byte[1 << 16]);
        AssertRefused(folder, tensor => Set(tensor, key, value), value.Length > 0 ? value : "''");
    }

    [TestMethod]
    public void LocationMustBeThere()
    {
        using var folder = new TemporaryFolder();
        AssertRefused(folder, tensor => tensor.ExternalData.RemoveAt(0), "names no file");
    }

    [TestMethod]
    public void StringsCannotBeExternal()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder.File("model", "data.bin"), new byte[1 << 16]);
        AssertRefused(folder, tensor => tensor.DataType = (int)ElementType.String, "String");
    }

    [TestMethod]
    public void ReferencesOfTheProgramCannotBeForged()
    {
        using var folder = new TemporaryFolder();
        AssertRefused(folder, Forge, "names no file");

        static void Forge(TensorProto tensor)
        {
            tensor.ExternalData.Clear();
            tensor.ExternalData.Add(new StringStringEntryProto { Key = "ortquant.tensor", Value = "5" });
        }
    }

    [TestMethod]
    public void PipeIsNotWaitedFor()
    {
        using var folder = new TemporaryFolder();
        Directory.CreateDirectory(folder.File("model", "x"));
        ProcessRunner.Run("mkfifo", [Path.Combine(folder.Path, "model", "data.bin")]).ShouldSucceed();
        AssertRefused(folder, _ => { }, "which has 0");
    }

    [TestMethod]
    public void DataBesideTheTargetOfALinkIsTheModels()
    {
        // A cache of downloads: a folder of links to files that are named by content.
        using var folder = new TemporaryFolder();
        var real = GraphFixtures.Get("external-files").Write(folder.File("blobs"));
        Directory.CreateDirectory(folder.File("snapshot", "below", "x"));
        foreach (var name in new[] { "model.onnx", "first.bin", "second.bin", "below/third.bin" })
        {
            File.CreateSymbolicLink(folder.File("snapshot", name), Path.Combine(folder.Path, "blobs", name));
        }

        using var model = OnnxModel.Load(folder.File("snapshot", "model.onnx"));
        using var expected = OnnxModel.Load(real);
        CollectionAssert.AreEqual(expected.Graph.Find("w3")!.Constant!.ReadBytes(), model.Graph.Find("w3")!.Constant!.ReadBytes());
    }

    [TestMethod]
    public void TensorsReadTheirOwnBytes()
    {
        using var folder = new TemporaryFolder();
        using var model = OnnxModel.Load(GraphFixtures.Get("external-files").Write(folder.Path));
        foreach (var (name, seed, rows) in new[] { ("w1", 28, 32L), ("w2", 29, 48L), ("w3", 30, 48L), ("w4", 31, 48L) })
        {
            var expected = ModelBuilder.Random(name, ElementType.Float16, seed, rows, 48).RawData.ToByteArray();
            CollectionAssert.AreEqual(expected, model.Graph.Find(name)!.Constant!.ReadBytes(), name);
        }
    }

    private static void Set(TensorProto tensor, string key, string value) => tensor.ExternalData.Single(entry => entry.Key == key).Value = value;

    /// <summary>Writes a model whose weight w (3072 bytes) is at offset 0 of data.bin, changes the reference, and expects a refusal that names w.</summary>
    private static void AssertRefused(TemporaryFolder folder, Action<TensorProto> change, string message)
    {
        var builder = new ModelBuilder().Input("x", ElementType.Float16, "batch", 32).Weight("w", ElementType.Float16, 1, 32, 48)
            .Node("MatMul", ["x", "w"], ["y"]).Output("y", ElementType.Float16, "batch", 48);
        var tensor = builder.Proto.Graph.Initializer[0];
        tensor.ClearRawData();
        tensor.DataLocation = TensorProto.Types.DataLocation.External;
        foreach (var (key, value) in new[] { ("location", "data.bin"), ("offset", "0"), ("length", "3072") })
        {
            tensor.ExternalData.Add(new StringStringEntryProto { Key = key, Value = value });
        }

        change(tensor);
        var error = Assert.ThrowsExactly<ModelFormatException>(() => OnnxModel.Load(builder.Save(folder.File("model"))).Dispose());
        StringAssert.Contains(error.Message, "'w'");
        StringAssert.Contains(error.Message, message);
        Assert.IsFalse(error.Message.Contains('\n'), error.Message);
    }
}
