using OrtQuant.Descriptions;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Calibration;

/// <summary>
/// A small language model with what makes calibration hard: a residual stream, two linears that read one value, a bias in a node of its own, a linear that
/// depends on others of its block, a dead channel, a mask that follows from the inputs alone, and an If with a linear in it.
/// </summary>
internal static class CalibrationModel
{
    internal const int Vocabulary = 97;
    internal const int Width = 64;
    internal const int DeadChannel = 5;

    internal static ModelBuilder Create(int blocks = 2)
    {
        var builder = new ModelBuilder()
            .Input("input_ids", ElementType.Int64, "batch", "sequence")
            .Input("attention_mask", ElementType.Int64, "batch", "sequence")
            .Output("logits", ElementType.Float32, "batch", "sequence", Vocabulary)
            .Weight("embedding", ElementType.Float32, 1, Vocabulary, Width)
            .Initializer(ModelBuilder.Tensor("gain", ElementType.Float32, [Width], [.. Enumerable.Range(0, Width).Select(k => k == DeadChannel ? 0f : 1 + (k / 16f))]))
            .Initializer(ModelBuilder.Tensor("last", ElementType.Int64, [1], [-1]))
            .Initializer(ModelBuilder.Tensor("yes", ElementType.Float32, [], [0.5f]))
            .Node("Gather", ["embedding", "input_ids"], ["h0"])
            .Node("Cast", ["attention_mask"], ["mask"], ModelBuilder.Int("to", (int)ElementType.Float32))
            .Node("Unsqueeze", ["mask", "last"], ["mask3"]);
        for (var i = 0; i < blocks; i++) Block(builder, i);
        return builder.Weight("head", ElementType.Float32, 99, Width, Vocabulary).Node("MatMul", [$"h{blocks}", "head"], ["logits"]);
    }

    internal static OnnxModel Load(string folder, int blocks = 2) => Create(blocks).Load(folder);

    /// <summary>Sequences of random ids, of two lengths.</summary>
    internal static IReadOnlyList<long[]> Sequences(int seed = 3)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, 6).Select(i => Enumerable.Range(0, i < 4 ? 20 : 13).Select(_ => random.NextInt64(Vocabulary)).ToArray())];
    }

    private static void Block(ModelBuilder builder, int i)
    {
        builder
            .Weight($"w{i}.up", ElementType.Float32, (10 * i) + 11, Width, 128)
            .Weight($"w{i}.gate", ElementType.Float32, (10 * i) + 12, Width, 128)
            .Weight($"w{i}.down", ElementType.Float32, (10 * i) + 13, 128, Width)
            .Weight($"b{i}", ElementType.Float32, (10 * i) + 14, 128)
            .Node("Mul", [$"h{i}", "gain"], [$"scaled{i}"])
            .Node("Mul", [$"scaled{i}", "mask3"], [$"x{i}"])
            .Node("MatMul", [$"x{i}", $"w{i}.up"], [$"up{i}_raw"])
            .Node("MatMul", [$"x{i}", $"w{i}.gate"], [$"gate{i}"])
            .Node("Add", [$"up{i}_raw", $"b{i}"], [$"up{i}"])
            .Node("Tanh", [$"gate{i}"], [$"act{i}"])
            .Node("Mul", [$"act{i}", $"up{i}"], [$"y{i}"])
            .Node("MatMul", [$"y{i}", $"w{i}.down"], [$"down{i}"])
            .Node("Add", [$"h{i}", $"down{i}"], [$"h{i + 1}"]);
    }
}
