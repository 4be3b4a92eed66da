using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes.Dual;

/// <summary>Between values and codes of one group: <c>q = clamp(round(v / (row scale * s) + z / s), 0, 15)</c>, ties to even, and <c>v = row scale * (s * q - z)</c>.</summary>
internal static class DualRound
{
    /// <summary>Values in units of the row's scale.</summary>
    public static void Scale(ReadOnlySpan<float> values, float rowScale, Span<float> scaled) =>
        TensorPrimitives.Multiply(values, rowScale == 0 ? 0f : 1f / rowScale, scaled);

    /// <summary>Picks the nearest codes; false if a value is not finite.</summary>
    public static bool Round(ReadOnlySpan<float> values, float rowScale, int scale, int zeroPoint, Span<byte> codes) =>
        GroupRound.Round(values, rowScale * scale, zeroPoint / (float)scale, DualGeometry.MaxCode, codes);

    /// <summary><c>row scale * (s * q - z)</c>: the integer is exact, the product rounded once.</summary>
    public static void Dequantize(ReadOnlySpan<byte> codes, float rowScale, int scale, int zeroPoint, Span<float> values)
    {
        TensorPrimitives.ConvertTruncating<byte, float>(codes, values);
        TensorPrimitives.Multiply(values, scale, values);
        TensorPrimitives.Subtract(values, zeroPoint, values);
        TensorPrimitives.Multiply(values, rowScale, values);
    }

    /// <summary>Weighted squared error in units of the row's scale of the nearest codes.</summary>
    public static double SquaredError(ReadOnlySpan<float> scaled, ReadOnlySpan<float> importance, int scale, int zeroPoint)
    {
        ref var source = ref MemoryMarshal.GetReference(scaled);
        ref var weights = ref MemoryMarshal.GetReference(importance);
        var sum = Vector256<float>.Zero;
        var i = 0;
        for (; i + 8 <= scaled.Length; i += 8)
        {
            var squares = Squares(Vector256.LoadUnsafe(ref source, (nuint)i), scale, zeroPoint);
            sum += importance.IsEmpty ? squares : squares * Vector256.LoadUnsafe(ref weights, (nuint)i);
        }

        if (i < scaled.Length)
        {
            // Lanes past the end weigh nothing.
            Span<float> tail = stackalloc float[16];
            scaled[i..].CopyTo(tail);
            if (importance.IsEmpty) tail.Slice(8, scaled.Length - i).Fill(1);
            else importance[i..scaled.Length].CopyTo(tail[8..]);
            sum += Squares(Vector256.Create<float>(tail[..8]), scale, zeroPoint) * Vector256.Create<float>(tail[8..]);
        }

        var (lower, upper) = Vector256.Widen(sum);
        return Vector256.Sum(lower + upper);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Squares(Vector256<float> values, float scale, float zeroPoint)
    {
        var position = (values + Vector256.Create(zeroPoint)) * (1f / scale);
        position = Vector256.Min(Vector256.Max(position, Vector256<float>.Zero), Vector256.Create((float)DualGeometry.MaxCode));
        var difference = values - ((Vector256.Round(position) * scale) - Vector256.Create(zeroPoint));
        return difference * difference;
    }
}
