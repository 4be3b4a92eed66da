using System.Text.Json.Nodes;
using OrtQuant.GraphRewriter.Graph;
using OrtQuant.GraphRewriter.Planning;
using OrtQuant.GraphRewriter.Rewriting;

namespace OrtQuant.GraphRewriter.Transforms;

/// <summary>
/// An exact change of the model: the same function, in a form that packs or runs better. Immutable data in the plan; a class of its own
/// each. A <see cref="GraphTransform"/> changes nodes before weights are looked for; a <see cref="WeightTransform"/> changes what the packed
/// weights hold, as lazy views, so that no weight is read or copied for it.
/// </summary>
public abstract record Transform
{
    /// <summary>The one name of the transform, in plans.</summary>
    public abstract string Name { get; }

    /// <summary>What it does here, for the reader of the plan.</summary>
    public abstract string Summary { get; }

    /// <summary>Adds the members of the JSON form, apart from the name.</summary>
    internal abstract void WriteTo(JsonObject json);
}

/// <summary>A transform of the graph's nodes and values.</summary>
public abstract record GraphTransform : Transform
{
    /// <summary>Changes the model.</summary>
    internal abstract void Apply(OnnxModel model);
}

/// <summary>A transform of packed weights and of the nodes that read them.</summary>
public abstract record WeightTransform : Transform
{
    /// <summary>Says how the transform does not fit the plan that it is part of.</summary>
    /// <exception cref="PlanException">A weight is not in the plan, or weights that become one differ.</exception>
    internal abstract void Check(QuantizationPlan plan);

    /// <summary>Changes the set of weights.</summary>
    /// <exception cref="PlanException">The weights or their readers are not as the transform needs them.</exception>
    internal abstract void Apply(PackedWeights weights);
}
