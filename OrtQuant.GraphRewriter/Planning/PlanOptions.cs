using System.Text.RegularExpressions;
using OrtQuant.GraphRewriter.Adapters;

namespace OrtQuant.GraphRewriter.Planning;

/// <summary>Where the rewritten model is meant to run.</summary>
public enum RewriteTarget
{
    /// <summary>ONNX Runtime's CPU provider.</summary>
    Cpu,

    /// <summary>ONNX Runtime's CUDA provider.</summary>
    Cuda,
}

/// <summary>Type of the activations inside the graph.</summary>
public enum ActivationType
{
    /// <summary>As the model has them.</summary>
    Keep,

    /// <summary>float32: what the CPU provider computes in anyway, without a cast at every node.</summary>
    Float32,
}

/// <summary>Type of the graph's inputs and outputs, where <see cref="ActivationType.Float32"/> changes the inside.</summary>
public enum InterfaceType
{
    /// <summary>Names and types stay.</summary>
    Keep,

    /// <summary>float16 inputs and outputs become float32, the KV cache included.</summary>
    Float32,
}

/// <summary>Which ops the quantized weights are given to.</summary>
public enum EmittedOps
{
    /// <summary>Domain <c>ortquant</c>, each with a function body for runtimes without the library.</summary>
    OrtQuant,

    /// <summary><c>com.microsoft::MatMulNBits</c> and <c>GatherBlockQuantized</c>, which need no library.</summary>
    Microsoft,
}

/// <summary>Which embedding tables (matrices that a Gather reads rows of) are packed.</summary>
public enum EmbeddingChoice
{
    /// <summary>Those that a packed head holds as well: one copy for both.</summary>
    Shared,

    /// <summary>All large ones, with the parameters of the head.</summary>
    Pack,

    /// <summary>None.</summary>
    Keep,
}

/// <summary>Which activations are rotated by a Hadamard transform before they are quantized.</summary>
public enum RotationChoice
{
    /// <summary>None.</summary>
    None,

    /// <summary>The inputs of the last linears of feed-forward blocks, by an op of their own.</summary>
    Down,
}

/// <summary>What the user asks of a plan. Members left null take the best measured default.</summary>
public sealed record PlanOptions
{
    /// <summary>Name of the scheme.</summary>
    public string Scheme { get; init; } = "group";

    /// <summary>Bits of a code; for schemes that mix widths the stored bits per weight, which may have a fraction. Null for the scheme's default.</summary>
    public double? Bits { get; init; }

    /// <summary>Bits of the language-model head and of embeddings; null for 8.</summary>
    public int? HeadBits { get; init; }

    /// <summary>Consecutive k that share a scale, -1 for a whole row; null for the scheme's default.</summary>
    public int? GroupSize { get; init; }

    /// <summary>Bits of activations, for schemes that let one choose; null for the scheme's default.</summary>
    public int? ActivationBits { get; init; }

    /// <summary>Scheme <c>smooth</c>: consecutive k whose activations are divided by one maximum; null for the group size.</summary>
    public int? SmoothSize { get; init; }

    /// <summary>Scheme <c>smooth</c>: the rows that share those maxima, <c>call</c>, <c>token</c> or <c>none</c>; null for the scheme's default.</summary>
    public string? SmoothScope { get; init; }

    /// <summary>Which activations are rotated.</summary>
    public RotationChoice Rotation { get; init; }

    /// <summary>No zero points; 8-bit weights have none anyway.</summary>
    public bool Symmetric { get; init; }

    /// <summary>Scheme <c>lut</c>: how the levels of a group lie, <c>free</c> or <c>uniform</c>; null for the scheme's default.</summary>
    public string? Levels { get; init; }

    /// <summary>Name of the algorithm that chooses codes and scales.</summary>
    public string Algorithm { get; init; } = "rtn";

    /// <summary>0 or 1: float; 4: int8 activations. Null: float with 8-bit weights, else int8; adopted weights keep theirs.</summary>
    public int? AccuracyLevel { get; init; }

    /// <summary>Where the model is meant to run.</summary>
    public RewriteTarget Target { get; init; }

    /// <summary>Null: <see cref="ActivationType.Float32"/> for the CPU target, else <see cref="ActivationType.Keep"/>.</summary>
    public ActivationType? Activations { get; init; }

    /// <summary>Type of inputs and outputs.</summary>
    public InterfaceType Io { get; init; }

    /// <summary>Which ops to write.</summary>
    public EmittedOps Emit { get; init; }

    /// <summary>Which embedding tables to pack.</summary>
    public EmbeddingChoice Embedding { get; init; }

    /// <summary>Whether linears that read the same input become one wide linear.</summary>
    public bool Merge { get; init; } = true;

    /// <summary>Whether arithmetic on shapes is done once instead of for every layer.</summary>
    public bool SimplifyShapes { get; init; } = true;

    /// <summary>Whether attention and norms that are written out become one operator each.</summary>
    public bool Fuse { get; init; } = true;

    /// <summary>Folder of a LoRA or QA-LoRA adapter; null for none.</summary>
    public string? Adapter { get; init; }

    /// <summary>What becomes of a LoRA adapter. QA-LoRA goes into zero points in any case.</summary>
    public AdapterMode AdapterMode { get; init; }

    /// <summary>For QA-LoRA: what its trainer did to a group of inputs.</summary>
    public AdapterPooling AdapterPooling { get; init; }

    /// <summary>Weights whose name, or a node that reads them, matches this stay as they are.</summary>
    public Regex? Exclude { get; init; }

    /// <summary>Only weights whose name, or a node that reads them, matches this are rewritten.</summary>
    public Regex? Only { get; init; }

    /// <summary>Most threads to use while planning; 0 for one per processor. The plan does not depend on it.</summary>
    public int Threads { get; init; }

    internal bool Float32Activations => (Activations ?? (Target == RewriteTarget.Cpu ? ActivationType.Float32 : ActivationType.Keep)) == ActivationType.Float32;
}
