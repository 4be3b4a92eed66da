using OrtQuant.Descriptions;
using OrtQuant.Schemes;

namespace OrtQuant.GraphRewriter.Benchmarks;

/// <summary>One point of an op benchmark: Y [M, N] = X [M, K] . W^T.</summary>
/// <param name="Scheme">How weights are stored.</param>
/// <param name="Parameters">Its parameters.</param>
/// <param name="Shape">N and K.</param>
/// <param name="M">Rows of X.</param>
/// <param name="Type">Type of X and Y: float32 or float16.</param>
/// <param name="AccuracyLevel">1 (float) or 4 (int8 activations).</param>
/// <param name="Threads">Threads of the session.</param>
public sealed record OpBenchmarkCase(
    IWeightScheme Scheme, SchemeParameters Parameters, WeightShape Shape, int M, ElementType Type, int AccuracyLevel, int Threads)
{
    // Small M is limited by memory: all weights of a run together must not fit any cache. Large M is limited by arithmetic.
    private const long RotatedBytesSmallM = 220_000_000;
    private const long RotatedBytesLargeM = 48_000_000;
    private const int SmallM = 16;
    // Opening a graph takes long beyond this; weights so tiny are better measured larger.
    private const int MaxNodes = 4096;

    /// <summary>Stored bytes of one weight: what a product reads at least.</summary>
    public long Bytes => Scheme.Tensors(Shape, Parameters).Sum(tensor => tensor.ByteLength);

    /// <summary>Operations of one product, a multiplication and an addition counting as two.</summary>
    public double Operations => 2.0 * M * Shape.N * Shape.K;

    /// <summary>Nodes of one run, each with weights of its own.</summary>
    public int Nodes => (int)Math.Clamp(((M <= SmallM ? RotatedBytesSmallM : RotatedBytesLargeM) + Bytes - 1) / Bytes, 2, MaxNodes);
}

/// <summary>What a machine can do at most, measured in the same process.</summary>
/// <param name="Threads">Threads measured on.</param>
/// <param name="ReadGigabytesPerSecond">Reading memory that is in no cache.</param>
/// <param name="Int8Gops">Multiply-accumulate of bytes, 10^9 operations a second.</param>
/// <param name="Float32Gflops">Multiply-add of float32, 10^9 operations a second.</param>
public sealed record Roofline(int Threads, double ReadGigabytesPerSecond, double Int8Gops, double Float32Gflops)
{
    /// <summary>Measures the machine for about a second.</summary>
    /// <param name="threads">Threads that measure at the same time.</param>
    public static Roofline Measure(int threads)
    {
        var peaks = OrtQuantRuntime.MeasurePeaks(threads);
        return new Roofline(threads, peaks.ReadGbs, peaks.Int8Gops, peaks.Fp32Gflops);
    }

    /// <summary>The higher of two measurements of the same limits: what disturbs one only ever lowers it.</summary>
    public static Roofline Best(Roofline one, Roofline other) => new(
        one.Threads,
        Math.Max(one.ReadGigabytesPerSecond, other.ReadGigabytesPerSecond),
        Math.Max(one.Int8Gops, other.Int8Gops),
        Math.Max(one.Float32Gflops, other.Float32Gflops));

    /// <summary>The least time a case can take, microseconds: the larger of bytes / bandwidth and operations / peak.</summary>
    public double FloorMicroseconds(OpBenchmarkCase test)
    {
        var peak = test.AccuracyLevel == 4 ? Int8Gops : Float32Gflops;
        return Math.Max(test.Bytes / ReadGigabytesPerSecond, test.Operations / peak) / 1e3;
    }
}

/// <summary>Times of one case.</summary>
/// <param name="Case">What was measured.</param>
/// <param name="Time">One product of ours, seconds.</param>
/// <param name="Peer">Name of the peer; null when it cannot do this case.</param>
/// <param name="PeerTime">One product of the peer, seconds.</param>
/// <param name="PeerBytes">Stored bytes of one of its weights.</param>
/// <param name="FloorMicroseconds">Roofline of the case; null when it was not measured.</param>
public sealed record OpBenchmarkRow(OpBenchmarkCase Case, Sample Time, string? Peer, Sample? PeerTime, long? PeerBytes, double? FloorMicroseconds)
{
    /// <summary>Peer's time by ours: above 1 we are faster.</summary>
    public double? Ratio => PeerTime is { } peer ? peer.Median / Time.Median : null;
}
