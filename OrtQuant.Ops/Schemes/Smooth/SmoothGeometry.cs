using System.Numerics;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Schemes.Smooth;

/// <summary>Sizes of the stored tensors of one weight: those of scheme <c>group</c> with 4 bits and no zero points.</summary>
internal static class SmoothGeometry
{
    /// <summary>Width of a weight's code.</summary>
    public const int Bits = 4;

    /// <summary>Most activations that share a maximum.</summary>
    public const int MaxSmoothSize = 1 << 20;

    /// <summary>Sizes of the weight.</summary>
    /// <exception cref="OrtQuantException">Shape or parameters are outside of what the format holds.</exception>
    public static GroupGeometry Of(WeightShape shape, SmoothParameters parameters)
    {
        Validate(parameters);
        return new GroupGeometry(shape, Weights(parameters));
    }

    public static void Validate(SmoothParameters parameters)
    {
        GroupGeometry.Validate(Weights(parameters));
        if (parameters.SmoothSize is < 16 or > MaxSmoothSize || !BitOperations.IsPow2(parameters.SmoothSize))
        {
            throw new OrtQuantException($"smooth_size is {parameters.SmoothSize}; it must be a power of two from 16 to {MaxSmoothSize}");
        }

        if (parameters.ActivationBits is not (4 or 8))
        {
            throw new OrtQuantException($"activation_bits is {parameters.ActivationBits}; it must be 4 or 8");
        }

        if (!Enum.IsDefined(parameters.Scope))
        {
            throw new OrtQuantException($"smooth_scope is {parameters.Scope}; it must be call, token or none");
        }
    }

    private static GroupParameters Weights(SmoothParameters parameters) => new(Bits, parameters.GroupSize, ZeroPointKind.None, parameters.ScaleType);
}
