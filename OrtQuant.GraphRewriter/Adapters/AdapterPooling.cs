namespace OrtQuant.GraphRewriter.Adapters;

/// <summary>What becomes of a group of inputs before a QA-LoRA adapter's A; trainers differ, and their files do not say.</summary>
public enum AdapterPooling
{
    /// <summary>As PEFT trains it: the mean, times the number of groups.</summary>
    Peft,

    /// <summary>The mean, as in the paper's own code.</summary>
    Mean,

    /// <summary>The sum.</summary>
    Sum,
}

/// <summary>What becomes of a LoRA adapter.</summary>
public enum AdapterMode
{
    /// <summary>Added to the weights before they are quantized.</summary>
    Merge,

    /// <summary>Kept beside the quantized weights, as the op's low-rank inputs.</summary>
    LowRank,
}
