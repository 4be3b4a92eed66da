using OrtQuant.GraphRewriter.Rewriting;

namespace OrtQuant.GraphRewriter.Calibration;

/// <summary>A value X that packed weights multiply, of which statistics are gathered.</summary>
/// <param name="Name">Name of the value, the same in the original and in the rewritten graph.</param>
/// <param name="K">Its last dimension.</param>
/// <param name="Weights">The weights that meet it first here; one that meets several values belongs to the first of them.</param>
/// <param name="Consumers">Names of the raw results of the original linear nodes that read it.</param>
internal sealed record CalibratedInput(string Name, int K, IReadOnlyList<WeightEncoding> Weights, IReadOnlySet<string> Consumers);
