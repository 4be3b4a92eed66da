using System.Numerics.Tensors;
using System.Runtime.InteropServices;

namespace OrtQuant.ModelGenerator;

/// <summary>
/// Float16 weights that look normally distributed, made a block at a time. Each block depends on the seed, the tensor and the
/// block's index only, so the bytes are the same for any number of threads.
/// </summary>
internal sealed class RandomWeights(ulong seed)
{
    private const int BlockLength = 1 << 19;

    /// <summary>Writes a tensor of <paramref name="count"/> values with the given standard deviation, little-endian.</summary>
    /// <param name="stream">Where the 2 x <paramref name="count"/> bytes go.</param>
    /// <param name="tensor">Index of the tensor: another index, other values.</param>
    /// <param name="count">Number of values.</param>
    /// <param name="deviation">Standard deviation.</param>
    public void Write(Stream stream, int tensor, long count, float deviation)
    {
        var workers = Math.Max(1, Environment.ProcessorCount);
        var blocks = new Half[workers][];
        for (var start = 0L; start < count; start += (long)workers * BlockLength)
        {
            var first = start;
            Parallel.For(0, workers, worker =>
            {
                var offset = first + ((long)worker * BlockLength);
                var length = (int)Math.Clamp(count - offset, 0, BlockLength);
                blocks[worker] ??= new Half[BlockLength];
                Fill(blocks[worker].AsSpan(0, length), tensor, offset / BlockLength, deviation);
            });
            for (var worker = 0; worker < workers; worker++)
            {
                var length = (int)Math.Clamp(count - first - ((long)worker * BlockLength), 0, BlockLength);
                stream.Write(MemoryMarshal.AsBytes(blocks[worker].AsSpan(0, length)));
            }
        }
    }

    /// <summary>The sum of four uniform 16-bit numbers: close to normal, bounded at 3.46 deviations.</summary>
    private void Fill(Span<Half> values, int tensor, long block, float deviation)
    {
        const float SumDeviation = 37837.2f; // sqrt(4 / 12) * 65536
        var state = Mix(seed ^ Mix((ulong)tensor << 40 | (ulong)block));
        var scale = deviation / SumDeviation;
        Span<float> chunk = stackalloc float[1024];
        for (var start = 0; start < values.Length; start += chunk.Length)
        {
            var part = chunk[..Math.Min(chunk.Length, values.Length - start)];
            for (var i = 0; i < part.Length; i++)
            {
                var bits = Mix(state);
                state += 0x9E3779B97F4A7C15;
                var sum = (int)(bits & 0xFFFF) + (int)((bits >> 16) & 0xFFFF) + (int)((bits >> 32) & 0xFFFF) + (int)(bits >> 48);
                part[i] = (sum - 131070) * scale;
            }

            TensorPrimitives.ConvertToHalf(part, values[start..]);
        }
    }

    /// <summary>The output function of SplitMix64 (Steele, Lea, Flood 2014).</summary>
    private static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
