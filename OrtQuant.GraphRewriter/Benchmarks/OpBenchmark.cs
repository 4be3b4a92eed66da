namespace OrtQuant.GraphRewriter.Benchmarks;

/// <summary>
/// Times ops next to their peer in the same process: both read weights that no cache holds, in alternating runs, and the figure is the median.
/// </summary>
public static class OpBenchmark
{
    private static readonly TimeSpan Budget = TimeSpan.FromSeconds(12);
    private static readonly TimeSpan Minimum = TimeSpan.FromSeconds(0.3);

    /// <summary>Measures one case.</summary>
    /// <param name="test">What to measure.</param>
    /// <param name="repeats">Rounds at least.</param>
    /// <param name="isa">Instruction set to force on our kernels; null for the best.</param>
    /// <param name="beside">What to measure beside ours.</param>
    /// <param name="cancellation">Ends the measurement with an exception.</param>
    public static OpBenchmarkRow Measure(OpBenchmarkCase test, int repeats, string? isa, OpBenchmarkPeer beside, CancellationToken cancellation)
    {
        var ours = BenchmarkModels.Ours(test);
        var (peer, peerName) = beside switch
        {
            OpBenchmarkPeer.Group => (BenchmarkModels.InGroups(test) is { } group ? BenchmarkModels.Ours(group) : null, "ortquant::MatMulNBits"),
            OpBenchmarkPeer.OnnxRuntimeTables => (BenchmarkModels.TakesTables(test) ? BenchmarkModels.Peer(test) : null, "com.microsoft::MatMulNBits with mlas.use_lut_gemm"),
            _ => (BenchmarkModels.Peer(test), "com.microsoft::MatMulNBits"),
        };
        var entries = isa is null ? [] : new Dictionary<string, string> { ["ortquant.force_isa"] = isa };
        var peerEntries = beside switch
        {
            OpBenchmarkPeer.Group => entries,
            OpBenchmarkPeer.OnnxRuntimeTables => new Dictionary<string, string> { ["mlas.use_lut_gemm"] = "1" },
            _ => [],
        };
        using var ourSession = new BenchmarkSession(ours, test.Threads, entries);
        using var peerSession = peer is null ? null : new BenchmarkSession(peer, test.Threads, peerEntries);
        List<Action> runs = [ourSession.Run];
        if (peerSession is not null)
        {
            runs.Add(peerSession.Run);
        }

        var samples = Sample.Interleave(runs, repeats, Budget, Minimum, cancellation);
        return new OpBenchmarkRow(
            test,
            samples[0].DividedBy(test.Nodes),
            peer is null ? null : peerName,
            peer is null ? null : samples[1].DividedBy(test.Nodes),
            peer?.Bytes,
            FloorMicroseconds: null);
    }
}

/// <summary>What an op is measured beside.</summary>
public enum OpBenchmarkPeer
{
    /// <summary><c>com.microsoft::MatMulNBits</c> with as many bits and as large groups.</summary>
    OnnxRuntime,

    /// <summary>The same with ONNX Runtime's table kernels (T-MAC), which it has for 2 bits.</summary>
    OnnxRuntimeTables,

    /// <summary>Our own op of scheme <c>group</c> with as many bits and as large groups.</summary>
    Group,
}
