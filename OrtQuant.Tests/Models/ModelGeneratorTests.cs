using Microsoft.ML.OnnxRuntime;
using OrtQuant.ModelGenerator;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Models;

/// <summary>Generated Llama-shaped models run in ONNX Runtime, and their key/value cache means what it should.</summary>
[TestClass]
public sealed class ModelGeneratorTests
{
    private static readonly LlamaShape Shape = new(
        Layers: 2, Hidden: 64, FeedForward: 172, Heads: 4, KeyValueHeads: 2, Vocabulary: 300, Positions: 64, Tied: false);

    private static readonly long[] Tokens = [1, 17, 299, 42, 42, 5, 128];

    [TestMethod]
    [DataRow("Optimum", false)]
    [DataRow("Optimum", true)]
    [DataRow("Genai", false)]
    [DataRow("Genai", true)]
    public void StepsWithAPastGiveTheLogitsOfTheWholeSequence(string form, bool tied)
    {
        using var folder = new TemporaryFolder();
        ModelFiles.Write(folder.Path, Shape with { Tied = tied }, Enum.Parse<GraphForm>(form), seed: 3);
        using var session = new InferenceSession(folder.File("model.onnx"));

        var whole = Run(session, Tokens, past: null);
        var begin = Run(session, Tokens[..4], past: null);
        var rest = Run(session, Tokens[4..], begin);

        var expected = LastLogits(whole);
        var actual = LastLogits(rest);
        Assert.AreEqual(Shape.Vocabulary, expected.Length);
        Assert.IsGreaterThan(0.1, Deviation(expected), "The logits hardly differ from each other.");
        Assert.IsLessThan(0.02 * Deviation(expected), Distance(expected, actual));
        // Another past must show.
        var other = Run(session, [.. Tokens[..3], 7], past: null);
        Assert.IsGreaterThan(0.02 * Deviation(expected), Distance(expected, LastLogits(Run(session, Tokens[4..], other))));
    }

    [TestMethod]
    public void TheSameSeedGivesTheSameBytesAndAnotherSeedOthers()
    {
        using var folder = new TemporaryFolder();
        var data = new List<byte[]>();
        foreach (var (name, seed) in new[] { ("a", 1UL), ("b", 1UL), ("c", 2UL) })
        {
            ModelFiles.Write(folder.File(name), Shape, GraphForm.Optimum, seed);
            data.Add(File.ReadAllBytes(folder.File(name, "model.onnx.data")));
        }

        CollectionAssert.AreEqual(data[0], data[1]);
        CollectionAssert.AreNotEqual(data[0], data[2]);
        Assert.IsGreaterThanOrEqualTo(Shape.Parameters * 2, data[0].Length);
    }

    [TestMethod]
    [DataRow(0, 64, 8, 2, "--layers is 0")]
    [DataRow(1, 60, 8, 2, "hidden must be a multiple of 2 x heads")]
    [DataRow(1, 64, 8, 2, "the head size (hidden / heads) is 8")]
    [DataRow(1, 64, 4, 3, "--kv-heads is 3; it must divide --heads (4)")]
    public void ImpossibleDimensionsAreNamed(int layers, int hidden, int heads, int keyValueHeads, string expected)
    {
        var shape = Shape with { Layers = layers, Hidden = hidden, Heads = heads, KeyValueHeads = keyValueHeads };

        Assert.Contains(expected, shape.Validate(GraphForm.Genai) ?? "nothing");
    }

    private sealed record Outputs(int Length, Dictionary<string, (Half[] Data, long[] Shape)> Values);

    private static Outputs Run(InferenceSession session, long[] tokens, Outputs? past)
    {
        var before = past?.Length ?? 0;
        var inputs = new Dictionary<string, OrtValue>();
        foreach (var name in session.InputNames)
        {
            inputs[name] = name switch
            {
                "input_ids" => OrtValue.CreateTensorValueFromMemory(tokens, [1, tokens.Length]),
                "attention_mask" => Ones(before + tokens.Length),
                "position_ids" => Positions(before, tokens.Length),
                _ when past is null => Cache([], [1, Shape.KeyValueHeads, 0, Shape.HeadSize]),
                _ => Cache(past.Values[Present(name)].Data, past.Values[Present(name)].Shape),
            };
        }

        using var options = new RunOptions();
        using var results = session.Run(options, inputs, session.OutputNames);
        var values = session.OutputNames.Zip(results).ToDictionary(
            pair => pair.First,
            pair => (pair.Second.GetTensorDataAsSpan<Float16>().ToArray().Select(v => BitConverter.UInt16BitsToHalf(v.value)).ToArray(),
                pair.Second.GetTensorTypeAndShape().Shape));
        foreach (var value in inputs.Values)
        {
            value.Dispose();
        }

        return new Outputs(before + tokens.Length, values);
    }

    private static string Present(string pastName) => pastName.Replace("past_key_values", "present", StringComparison.Ordinal);

    private static OrtValue Ones(int count) =>
        OrtValue.CreateTensorValueFromMemory(Enumerable.Repeat(1L, count).ToArray(), [1, count]);

    private static OrtValue Positions(int start, int count) =>
        OrtValue.CreateTensorValueFromMemory(Enumerable.Range(start, count).Select(i => (long)i).ToArray(), [1, count]);

    private static OrtValue Cache(Half[] data, long[] shape) =>
        OrtValue.CreateTensorValueFromMemory(data.Select(v => new Float16(BitConverter.HalfToUInt16Bits(v))).ToArray(), shape);

    private static double[] LastLogits(Outputs outputs) =>
        [.. outputs.Values["logits"].Data[^Shape.Vocabulary..].Select(v => (double)v)];

    private static double Deviation(double[] values) => Math.Sqrt(values.Average(v => v * v) - Math.Pow(values.Average(), 2));

    private static double Distance(double[] a, double[] b) => Math.Sqrt(a.Zip(b).Average(p => Math.Pow(p.First - p.Second, 2)));
}
