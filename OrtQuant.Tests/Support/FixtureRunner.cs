using Microsoft.ML.OnnxRuntime;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.Tests.Support;

/// <summary>Runs small models in ONNX Runtime on made-up inputs, and widens what they give.</summary>
internal static class FixtureRunner
{
    private const int Batch = 5;

    /// <summary>The first output as float32, whatever its type.</summary>
    /// <param name="path">The model.</param>
    /// <param name="settings">How to open it; null: without the native library.</param>
    internal static float[] Run(string path, SessionSettings? settings = null)
    {
        using var session = SessionFactory.Open(path, settings ?? new SessionSettings { UseLibrary = false });
        var random = new Random(7);
        var inputs = session.InputMetadata.ToDictionary(input => input.Key, input => Make(input.Value, random));
        using var options = new RunOptions();
        using var outputs = session.Run(options, inputs, session.OutputNames);
        foreach (var input in inputs.Values) input.Dispose();
        return outputs[0].GetTensorTypeAndShape().ElementDataType switch
        {
            Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Float16 => [.. outputs[0].GetTensorDataAsSpan<Float16>().ToArray().Select(value => value.ToFloat())],
            Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.BFloat16 => [.. outputs[0].GetTensorDataAsSpan<BFloat16>().ToArray().Select(value => value.ToFloat())],
            _ => outputs[0].GetTensorDataAsSpan<float>().ToArray(),
        };
    }

    /// <summary>|actual - expected| / |expected|.</summary>
    internal static double RelativeError(float[] expected, float[] actual)
    {
        Assert.HasCount(expected.Length, actual);
        var (error, norm) = (0.0, 0.0);
        for (var i = 0; i < expected.Length; i++)
        {
            error += Math.Pow(actual[i] - expected[i], 2);
            norm += Math.Pow(expected[i], 2);
        }

        Assert.IsGreaterThan(0, norm, "the expected output is all zeros, which proves nothing");
        return Math.Sqrt(error / norm);
    }

    private static OrtValue Make(NodeMetadata input, Random random)
    {
        long[] shape = [.. input.Dimensions.Select(dimension => dimension < 0 ? Batch : (long)dimension)];
        var count = (int)shape.Aggregate(1L, (product, dimension) => product * dimension);
        var values = Enumerable.Range(0, count).Select(_ => (float)((random.NextDouble() * 2) - 1)).ToArray();
        return input.ElementDataType switch
        {
            Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Bool => OrtValue.CreateTensorValueFromMemory(new bool[count].Select(_ => true).ToArray(), shape),
            Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Int64 => OrtValue.CreateTensorValueFromMemory(values.Select((_, i) => (long)i).ToArray(), shape),
            Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Float16 => OrtValue.CreateTensorValueFromMemory(values.Select(value => (Float16)value).ToArray(), shape),
            Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.BFloat16 => OrtValue.CreateTensorValueFromMemory(values.Select(value => (BFloat16)value).ToArray(), shape),
            _ => OrtValue.CreateTensorValueFromMemory(values, shape),
        };
    }
}
