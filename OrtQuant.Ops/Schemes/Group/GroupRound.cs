using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace OrtQuant.Schemes.Group;

/// <summary>Between values and codes of one group: <c>q = clamp(round(v / scale + zp), 0, max)</c>, ties to even, and <c>v = scale * (q - zp)</c>.</summary>
internal static class GroupRound
{
    // Adding 1.5 * 2^23 to a float in 0 .. 255 rounds it to the nearest integer, ties to even, which then is the low byte.
    private const float RoundingBias = 12582912f;

    /// <summary>Picks the nearest codes; false if a value is not finite.</summary>
    public static bool Round(ReadOnlySpan<float> values, float scale, float zeroPoint, int maxCode, Span<byte> codes)
    {
        var inverse = scale == 0 ? 0f : 1f / scale;
        ref var source = ref MemoryMarshal.GetReference(values);
        ref var destination = ref MemoryMarshal.GetReference(codes);
        var i = 0;
        var notFinite = Vector256<float>.Zero;
        for (; i + 32 <= values.Length; i += 32)
        {
            var q0 = Codes(Vector256.LoadUnsafe(ref source, (nuint)i), inverse, zeroPoint, maxCode, ref notFinite);
            var q1 = Codes(Vector256.LoadUnsafe(ref source, (nuint)i + 8), inverse, zeroPoint, maxCode, ref notFinite);
            var q2 = Codes(Vector256.LoadUnsafe(ref source, (nuint)i + 16), inverse, zeroPoint, maxCode, ref notFinite);
            var q3 = Codes(Vector256.LoadUnsafe(ref source, (nuint)i + 24), inverse, zeroPoint, maxCode, ref notFinite);
            Vector256.Narrow(Vector256.Narrow(q0, q1), Vector256.Narrow(q2, q3)).StoreUnsafe(ref destination, (nuint)i);
        }

        var finite = Vector256.EqualsAll(notFinite, Vector256<float>.Zero);
        for (; i < values.Length; i++)
        {
            var value = values[i];
            finite &= float.IsFinite(value);
            var position = Math.Clamp((value * inverse) + zeroPoint, 0f, maxCode);
            codes[i] = (byte)BitConverter.SingleToUInt32Bits(position + RoundingBias);
        }

        return finite;
    }

    /// <summary><c>scale * (q - zeroPoint)</c>, each operation rounded once to float.</summary>
    public static void Dequantize(ReadOnlySpan<byte> codes, float scale, float zeroPoint, Span<float> values)
    {
        TensorPrimitives.ConvertTruncating<byte, float>(codes, values);
        TensorPrimitives.Subtract(values, zeroPoint, values);
        TensorPrimitives.Multiply(values, scale, values);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Codes(Vector256<float> values, float inverse, float zeroPoint, int maxCode, ref Vector256<float> notFinite)
    {
        // x - x is 0 for finite x and NaN otherwise; NaN stays NaN through the sum.
        notFinite += values - values;
        var position = (values * inverse) + Vector256.Create(zeroPoint);
        position = Vector256.Min(Vector256.Max(position, Vector256<float>.Zero), Vector256.Create((float)maxCode));
        return (position + Vector256.Create(RoundingBias)).AsUInt32() & Vector256.Create(0xFFu);
    }
}
