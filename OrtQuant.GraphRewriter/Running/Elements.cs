using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace OrtQuant.GraphRewriter.Running;

/// <summary>Reading and writing the elements of tensors of any numeric type as float32 or int64.</summary>
internal static class Elements
{
    /// <summary>Bytes an element takes.</summary>
    public static int SizeOf(TensorElementType type) => type switch
    {
        TensorElementType.Float or TensorElementType.Int32 or TensorElementType.UInt32 => 4,
        TensorElementType.Float16 or TensorElementType.BFloat16 or TensorElementType.Int16 or TensorElementType.UInt16 => 2,
        TensorElementType.Double or TensorElementType.Int64 or TensorElementType.UInt64 => 8,
        TensorElementType.UInt8 or TensorElementType.Int8 or TensorElementType.Bool => 1,
        _ => throw new RunningException($"tensors of type {type} are not supported"),
    };

    /// <summary>Converts bytes of type <paramref name="type"/> to float32.</summary>
    public static void ToSingle(ReadOnlySpan<byte> source, TensorElementType type, Span<float> destination)
    {
        switch (type)
        {
            case TensorElementType.Float:
                MemoryMarshal.Cast<byte, float>(source).CopyTo(destination);
                break;
            case TensorElementType.Float16:
                TensorPrimitives.ConvertToSingle(MemoryMarshal.Cast<byte, Half>(source), destination);
                break;
            case TensorElementType.BFloat16:
                var bits = MemoryMarshal.Cast<byte, ushort>(source);
                for (var i = 0; i < bits.Length; i++)
                {
                    destination[i] = BitConverter.Int32BitsToSingle(bits[i] << 16);
                }

                break;
            case TensorElementType.Double:
                TensorPrimitives.ConvertTruncating(MemoryMarshal.Cast<byte, double>(source), destination);
                break;
            case TensorElementType.Int64:
                TensorPrimitives.ConvertTruncating(MemoryMarshal.Cast<byte, long>(source), destination);
                break;
            case TensorElementType.Int32:
                TensorPrimitives.ConvertTruncating(MemoryMarshal.Cast<byte, int>(source), destination);
                break;
            case TensorElementType.UInt8 or TensorElementType.Bool:
                TensorPrimitives.ConvertTruncating(source, destination);
                break;
            default:
                throw new RunningException($"tensors of type {type} cannot be read as numbers");
        }
    }

    /// <summary>Converts float32 to bytes of type <paramref name="type"/>.</summary>
    public static void FromSingle(ReadOnlySpan<float> source, TensorElementType type, Span<byte> destination)
    {
        switch (type)
        {
            case TensorElementType.Float:
                source.CopyTo(MemoryMarshal.Cast<byte, float>(destination));
                break;
            case TensorElementType.Float16:
                TensorPrimitives.ConvertToHalf(source, MemoryMarshal.Cast<byte, Half>(destination));
                break;
            case TensorElementType.BFloat16:
                var bits = MemoryMarshal.Cast<byte, ushort>(destination);
                for (var i = 0; i < source.Length; i++)
                {
                    // Round to nearest, ties to even.
                    var word = BitConverter.SingleToUInt32Bits(source[i]);
                    bits[i] = (ushort)((word + 0x7FFF + ((word >> 16) & 1)) >> 16);
                }

                break;
            case TensorElementType.Double:
                TensorPrimitives.ConvertTruncating(source, MemoryMarshal.Cast<byte, double>(destination));
                break;
            default:
                throw new RunningException($"tensors of type {type} cannot be written from numbers");
        }
    }

    /// <summary>A new tensor in memory of ONNX Runtime, filled with zeros.</summary>
    public static OrtValue Allocate(TensorElementType type, params long[] shape)
    {
        var value = OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, type, shape);
        if (shape.All(size => size > 0))
        {
            value.GetTensorMutableRawData().Clear();
        }

        return value;
    }

    /// <summary>A new integer tensor.</summary>
    public static OrtValue Integers(TensorElementType type, ReadOnlySpan<long> values, params long[] shape)
    {
        var tensor = OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, type, shape);
        if (values.Length == 0)
        {
            return tensor;
        }

        switch (type)
        {
            case TensorElementType.Int64:
                values.CopyTo(tensor.GetTensorMutableDataAsSpan<long>());
                break;
            case TensorElementType.Int32:
                TensorPrimitives.ConvertTruncating(values, tensor.GetTensorMutableDataAsSpan<int>());
                break;
            default:
                throw new RunningException($"an input of token ids, a mask or positions has type {type}; int64 and int32 are supported");
        }

        return tensor;
    }

    /// <summary>The shape of a tensor.</summary>
    public static long[] Shape(OrtValue value) => value.GetTensorTypeAndShape().Shape;

    /// <summary>A copy with another floating-point type.</summary>
    public static OrtValue Convert(OrtValue source, TensorElementType type)
    {
        var info = source.GetTensorTypeAndShape();
        var result = OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, type, info.Shape);
        if (info.ElementCount > 0)
        {
            var numbers = new float[info.ElementCount];
            ToSingle(source.GetTensorMutableRawData(), info.ElementDataType, numbers);
            FromSingle(numbers, type, result.GetTensorMutableRawData());
        }

        return result;
    }
}
