namespace OrtQuant.GraphRewriter.Benchmarks;

/// <summary>
/// Times ops next to their peer in the same process: both read weights that no cache holds, in alternating runs, and the figure is the median.
/// </summary>
public static class OpBenchmark
{
    private const string PeerName = "com.microsoft::MatMulNBits";
    private static readonly TimeSpan Budget = TimeSpan.FromSeconds(12);
    private static readonly TimeSpan Minimum = TimeSpan.FromSeconds(0.3);

    /// <summary>Measures one case.</summary>
    /// <param name="test">What to measure.</param>
    /// <param name="repeats">Rounds at least.</param>
    /// <param name="isa">Instruction set to force; null for the best.</param>
    /// <param name="cancellation">Ends the measurement with an exception.</param>
    public static OpBenchmarkRow Measure(OpBenchmarkCase test, int repeats, string? isa, CancellationToken cancellation)
    {
        var ours = BenchmarkModels.Ours(test);
        var peer = BenchmarkModels.Peer(test);
        var entries = isa is null ? [] : new Dictionary<string, string> { ["ortquant.force_isa"] = isa };
        using var ourSession = new BenchmarkSession(ours, test.Threads, entries);
        using var peerSession = peer is null ? null : new BenchmarkSession(peer, test.Threads, new Dictionary<string, string>());
        List<Action> runs = [ourSession.Run];
        if (peerSession is not null)
        {
            runs.Add(peerSession.Run);
        }

        var samples = Sample.Interleave(runs, repeats, Budget, Minimum, cancellation);
        return new OpBenchmarkRow(
            test,
            samples[0].DividedBy(test.Nodes),
            peer is null ? null : PeerName,
            peer is null ? null : samples[1].DividedBy(test.Nodes),
            peer?.Bytes,
            FloorMicroseconds: null);
    }
}
