using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Benchmarks;

/// <summary>A benchmark model open in a session, with its buffers: a run allocates nothing.</summary>
internal sealed class BenchmarkSession : IDisposable
{
    private readonly DirectoryInfo _folder;
    private readonly InferenceSession _session;
    private readonly OrtIoBinding _binding;
    private readonly RunOptions _options = new();
    private readonly OrtValue _input;
    private readonly OrtValue _output;
    private readonly int _nodes;

    /// <summary>Writes and opens a model. X is normally distributed.</summary>
    /// <exception cref="RunningException">ONNX Runtime cannot open it.</exception>
    public BenchmarkSession(BenchmarkModel model, int threads, IReadOnlyDictionary<string, string> configEntries)
    {
        _nodes = model.Nodes;
        _folder = Directory.CreateTempSubdirectory("ortquant-bench-");
        try
        {
            _session = SessionFactory.Open(model.Write(_folder.FullName), new SessionSettings
            {
                Threads = threads,
                ConfigEntries = configEntries,
                // The graph is what is to be measured.
                OptimizationLevel = GraphOptimizationLevel.ORT_DISABLE_ALL,
            });
        }
        catch
        {
            _folder.Delete(recursive: true);
            throw;
        }

        var type = (TensorElementType)model.ActivationType;
        _input = Elements.Allocate(type, model.M, model.K);
        Elements.FromSingle(Normal(checked((int)(model.M * model.K))), type, _input.GetTensorMutableRawData());
        _output = Elements.Allocate(type, model.M, model.N);
        _binding = _session.CreateIoBinding();
        _binding.BindInput("X", _input);
        for (var node = 0; node < _nodes; node++)
        {
            // All nodes write the same buffer: outputs would otherwise push the weights out of the picture.
            _binding.BindOutput(BenchmarkModel.Output(node), _output);
        }
    }

    /// <summary>Runs every node once.</summary>
    public void Run() => _session.RunWithBinding(_options, _binding);

    /// <inheritdoc/>
    public void Dispose()
    {
        _binding.Dispose();
        _input.Dispose();
        _output.Dispose();
        _options.Dispose();
        _session.Dispose();
        _folder.Delete(recursive: true);
    }

    private static float[] Normal(int count)
    {
        var random = new Random(2);
        var values = new float[count];
        for (var i = 0; i < count; i++)
        {
            values[i] = (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
        }

        return values;
    }
}
