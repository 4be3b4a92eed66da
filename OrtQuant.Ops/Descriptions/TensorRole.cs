namespace OrtQuant.Descriptions;

/// <summary>What an op's input is for. Inputs stand in this order in every matmul op; the optional ones come last.</summary>
public enum TensorRole
{
    /// <summary>Activations X <c>[..., K]</c>, known at run time only.</summary>
    Activation,

    /// <summary>Row numbers of a gather op.</summary>
    Indices,

    /// <summary>Packed codes.</summary>
    PackedWeight,

    /// <summary>Scales of the groups.</summary>
    Scale,

    /// <summary>Zero points of the groups.</summary>
    ZeroPoint,

    /// <summary>Sums over each output's weights, which follow from the other tensors: what kernels need for activations with a zero point.</summary>
    RowSum,

    /// <summary>Channels of X in the order of the weight's K.</summary>
    ChannelOrder,

    /// <summary>Single weights that are held beside the packed ones: where they are, or what they add.</summary>
    Sparse,

    /// <summary>Bias <c>[N]</c>, added to the product.</summary>
    Bias,

    /// <summary>First factor <c>[K, r]</c> of a low-rank correction.</summary>
    LowRankA,

    /// <summary>Second factor <c>[r, N]</c> of a low-rank correction.</summary>
    LowRankB,

    /// <summary>Keys or values of earlier tokens.</summary>
    Cache,

    /// <summary>What each token may attend to.</summary>
    Mask,

    /// <summary>Lengths of sequences.</summary>
    Length,
}
