using OrtQuant.GraphRewriter.Graph;

namespace OrtQuant.GraphRewriter.Rewriting;

/// <summary>Takes away what only replaced nodes needed: the initializers they read, and the nodes between. What was unused before stays.</summary>
internal sealed class UnusedValues
{
    private readonly Queue<OnnxValue> _candidates = [];

    /// <summary>Remembers values that have lost a reader.</summary>
    internal void Consider(IEnumerable<OnnxValue?> values)
    {
        foreach (var value in values)
        {
            if (value is not null) _candidates.Enqueue(value);
        }
    }

    /// <summary>Removes those without any reader left, and then what only they needed.</summary>
    internal void Remove()
    {
        while (_candidates.TryDequeue(out var value))
        {
            if (value.IsGraphOutput || value.IsGraphInput || value.Uses.Count > 0) continue;
            if (value.Producer is { } producer)
            {
                if (producer.Outputs.Any(output => output is not null && (output.Uses.Count > 0 || output.IsGraphOutput))) continue;
                Consider(producer.Inputs);
                producer.Graph.Remove(producer);
            }
            else if (value.IsInitializer)
            {
                value.Graph.RemoveInitializer(value);
            }
        }
    }
}
