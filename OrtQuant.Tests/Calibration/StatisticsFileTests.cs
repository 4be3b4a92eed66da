using System.Buffers.Binary;
using System.Text;
using OrtQuant.GraphRewriter.Calibration;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Rewriting;
using OrtQuant.GraphRewriter.Running;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Calibration;

[TestClass]
public sealed class StatisticsFileTests
{
    [TestMethod]
    public void SavedStatisticsGiveTheSameModel()
    {
        using var folder = new TemporaryFolder();
        var path = CalibrationModel.Create().Save(folder.Path);
        Rewrite(path, folder.File("a.onnx"), CalibratorTests.Options(sequential: false, folder.File("stats")));

        var statistics = StatisticsFile.Read(folder.File("stats"));
        var result = Rewrite(path, folder.File("b.onnx"), new RewriteOptions { Calibration = new CalibrationOptions { Statistics = statistics } });

        CollectionAssert.AreEqual(File.ReadAllBytes(folder.File("a.onnx")), File.ReadAllBytes(folder.File("b.onnx")));
        Assert.AreEqual(5, result.Calibration!.Weights);
        Assert.AreEqual(106, statistics.Tokens);
        Rewrite(path, folder.File("c.onnx"), new RewriteOptions());
        CollectionAssert.AreNotEqual(File.ReadAllBytes(folder.File("a.onnx")), File.ReadAllBytes(folder.File("c.onnx")), "without statistics");

        // Weights are found by their own names, however they are merged.
        CollectionAssert.AreEquivalent(new[] { "w0.up", "w0.gate", "w0.down", "w1.up", "w1.gate", "w1.down", "head" }, statistics.Weights.ToArray());
    }

    [TestMethod]
    public void StatisticsOfAnotherModelAreRefused()
    {
        using var folder = new TemporaryFolder();
        var path = CalibrationModel.Create().Save(folder.Path);
        Rewrite(path, folder.File("a.onnx"), CalibratorTests.Options(sequential: false, folder.File("stats")));
        var statistics = StatisticsFile.Read(folder.File("stats"));

        var error = Assert.Throws<RunningException>(() => statistics.Find("w0.up", 65));

        Assert.Contains("has statistics of 64 inputs of weight 'w0.up', which has 65", error.Message);
        Assert.IsNull(statistics.Find("w7.up", 64));
    }

    [TestMethod]
    public void EveryDamageIsFoundOrHarmless()
    {
        using var folder = new TemporaryFolder();
        Rewrite(CalibrationModel.Create(1).Save(folder.Path), folder.File("a.onnx"), CalibratorTests.Options(sequential: false, folder.File("stats")));
        var good = File.ReadAllBytes(folder.File("stats"));
        var header = (int)BinaryPrimitives.ReadInt64LittleEndian(good) + 8;
        for (var length = 0; length < good.Length; length += length < header ? 7 : 501) Refused(good[..length]);
        Refused([.. BitConverter.GetBytes(long.MaxValue), .. good[8..]]);
        Refused([.. BitConverter.GetBytes(-1L), .. good[8..]]);
        Refused(Replace("ortquant-statistics", "ortquant-statistic5"));
        Refused(Replace("\"version\":\"1\"", "\"version\":\"2\""));
        Refused(Replace("\"F32\"", "\"F16\""));
        Refused(Replace(".mean_abs", ".mean_xbs"));
        Refused(Replace("\"shape\":[64]", "\"shape\":[63]"));
        var negative = good.ToArray();
        negative[header + 3] |= 0x80;
        Refused(negative);
        var random = new Random(1);
        for (var i = 0; i < 500; i++)
        {
            var changed = good.ToArray();
            changed[random.Next(header)] = (byte)random.Next(256);
            TryRead(changed);
        }

        Assert.IsNull(TryRead(good), "the file itself");

        byte[] Replace(string old, string text) =>
            [.. Encoding.Latin1.GetBytes(Encoding.Latin1.GetString(good).Replace(old, text, StringComparison.Ordinal))];

        void Refused(byte[] bytes) => Assert.Contains("holds no statistics", TryRead(bytes) ?? "it was read");

        string? TryRead(byte[] bytes)
        {
            File.WriteAllBytes(folder.File("changed"), bytes);
            try
            {
                StatisticsFile.Read(folder.File("changed"));
                return null;
            }
            catch (RunningException exception)
            {
                return exception.Message;
            }
        }
    }

    private static RewriteResult Rewrite(string path, string output, RewriteOptions options)
    {
        using var model = OnnxModel.Load(path);
        return ModelRewriter.Rewrite(model, CalibratorTests.Plan(model), output, options);
    }
}
