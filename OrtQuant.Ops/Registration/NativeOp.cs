using System.Buffers;
using System.Text;
using OrtQuant.Descriptions;

namespace OrtQuant;

/// <summary>A tensor in memory, as an input or output of <see cref="NativeOp"/>.</summary>
/// <param name="Type">Element type; <see cref="ElementType.Undefined"/> for an input left out.</param>
/// <param name="Shape">Dimensions.</param>
/// <param name="Data">Its bytes, row-major.</param>
internal sealed record TensorMemory(ElementType Type, IReadOnlyList<long> Shape, Memory<byte> Data)
{
    /// <summary>An input left out.</summary>
    public static TensorMemory Absent { get; } = new(ElementType.Undefined, [], Memory<byte>.Empty);
}

/// <summary>Runs native ops without ONNX Runtime: the same kernels, the same checks.</summary>
internal static unsafe class NativeOp
{
    /// <summary>Dequantizes weights, bit for bit as <c>IWeightScheme.Decode</c> does.</summary>
    /// <param name="op">Name of an op, for example <c>MatMulNBits</c>.</param>
    /// <param name="attributes">Attributes of the node; those the op does not know are ignored.</param>
    /// <param name="inputs">Inputs of the op in its order; the first is ignored.</param>
    /// <param name="weights">Row-major <c>[N, K]</c>.</param>
    /// <exception cref="OrtQuantException">The library refuses the node; the message names the actual and the permitted value.</exception>
    public static void Unpack(string op, IReadOnlyList<OpAttributeValue> attributes, IReadOnlyList<TensorMemory> inputs, Span<float> weights)
    {
        using var call = new Call(attributes, inputs);
        fixed (float* destination = weights)
        fixed (NativeMethods.Attribute* nativeAttributes = call.Attributes)
        fixed (NativeMethods.Tensor* nativeInputs = call.Tensors)
        {
            OrtQuantRuntime.ThrowOnError(NativeMethods.Unpack(
                op, nativeAttributes, call.Attributes.Length, nativeInputs, inputs.Count, destination, weights.Length));
        }
    }

    /// <summary>Runs an op once.</summary>
    /// <param name="op">Name of an op.</param>
    /// <param name="attributes">Attributes of the node; those the op does not know are ignored.</param>
    /// <param name="inputs">Inputs of the op in its order.</param>
    /// <param name="output">Memory for the output, of the type and shape that the op gives.</param>
    /// <param name="threads">Threads to run on, at least 1.</param>
    /// <exception cref="OrtQuantException">The library refuses the node; the message names the actual and the permitted value.</exception>
    public static void Run(
        string op, IReadOnlyList<OpAttributeValue> attributes, IReadOnlyList<TensorMemory> inputs, TensorMemory output, int threads = 1)
    {
        using var call = new Call(attributes, [.. inputs, output]);
        fixed (NativeMethods.Attribute* nativeAttributes = call.Attributes)
        fixed (NativeMethods.Tensor* tensors = call.Tensors)
        {
            OrtQuantRuntime.ThrowOnError(NativeMethods.Run(
                op, nativeAttributes, call.Attributes.Length, tensors, inputs.Count, tensors + inputs.Count, threads));
        }
    }

    /// <summary>Attributes and tensors in the form of the C ABI, pinned until disposed.</summary>
    private sealed class Call : IDisposable
    {
        private readonly List<MemoryHandle> _pins = [];

        public Call(IReadOnlyList<OpAttributeValue> attributes, IReadOnlyList<TensorMemory> tensors)
        {
            Attributes = [.. attributes.Where(a => a.Kind is AttributeKind.Int or AttributeKind.String).Select(Convert)];
            Tensors = [.. tensors.Select(Convert)];
        }

        public NativeMethods.Attribute[] Attributes { get; }

        public NativeMethods.Tensor[] Tensors { get; }

        public void Dispose()
        {
            foreach (var pin in _pins)
            {
                pin.Dispose();
            }
        }

        private NativeMethods.Attribute Convert(OpAttributeValue attribute) => new()
        {
            Name = Pin(attribute.Name),
            Kind = (int)attribute.Kind,
            Int = attribute.Kind == AttributeKind.Int ? attribute.AsInt() : 0,
            Text = attribute.Kind == AttributeKind.String ? Pin(attribute.AsString()) : null,
        };

        private NativeMethods.Tensor Convert(TensorMemory tensor) => new()
        {
            Type = (int)tensor.Type,
            Rank = tensor.Shape.Count,
            Shape = (long*)Pin<long>(tensor.Shape.ToArray()),
            Data = Pin<byte>(tensor.Data),
        };

        private byte* Pin(string text) => (byte*)Pin<byte>(Encoding.UTF8.GetBytes(text + '\0'));

        private void* Pin<T>(Memory<T> memory)
        {
            var handle = memory.Pin();
            _pins.Add(handle);
            return handle.Pointer;
        }
    }
}
