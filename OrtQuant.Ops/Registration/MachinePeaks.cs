namespace OrtQuant;

/// <summary>What a machine can do at most; measured times are set against it.</summary>
/// <param name="ReadGbs">10^9 bytes a second read from memory that is in no cache.</param>
/// <param name="Int8Gops">10^9 operations a second on bytes with 32-bit sums; a multiplication and an addition count as two.</param>
/// <param name="Fp32Gflops">The same on binary32.</param>
public readonly record struct MachinePeaks(double ReadGbs, double Int8Gops, double Fp32Gflops);
