using Microsoft.ML.OnnxRuntime;
using OrtQuant.GraphRewriter.Running;

namespace OrtQuant.GraphRewriter.Comparison;

/// <summary>Runs a model and its reference on the same inputs and measures how far they are apart.</summary>
public static class ModelComparer
{
    /// <summary>Compares two models.</summary>
    /// <param name="referenceFile">Path of the reference.</param>
    /// <param name="modelFile">Path of the model that is checked; it has the reference's inputs and outputs by name (float types may differ).</param>
    /// <param name="options">What to compare on.</param>
    /// <param name="progress">Told sequences or steps done and in all.</param>
    /// <param name="cancellation">Ends the comparison with an exception.</param>
    /// <exception cref="RunningException">A model cannot be opened or run, or inputs and outputs differ.</exception>
    public static ComparisonResult Compare(
        string referenceFile, string modelFile, ComparisonOptions options,
        IProgress<(int Done, int Total)>? progress = null, CancellationToken cancellation = default) =>
        options.Sequences is { } sequences
            ? OnSequences(referenceFile, modelFile, sequences, options, progress, cancellation)
            : OnMadeInputs(referenceFile, modelFile, options, progress, cancellation);

    private static ComparisonResult OnSequences(
        string referenceFile, string modelFile, IReadOnlyList<long[]> sequences, ComparisonOptions options,
        IProgress<(int Done, int Total)>? progress, CancellationToken cancellation)
    {
        var configuration = ModelConfiguration.Read(options.ConfigurationOf ?? referenceFile);
        using var reference = LanguageModel.Open(referenceFile, options.Reference, configuration);
        using var model = LanguageModel.Open(modelFile, options.Model, configuration);
        var distributions = new DistributionMeter();
        var (referenceLoss, modelLoss, scored, done) = (0.0, 0.0, 0L, 0);
        foreach (var (ids, batch) in SequenceBatches.Of(sequences, reference, model))
        {
            using var expected = reference.Score(ids, batch, cancellation);
            using var actual = model.Score(ids, batch, cancellation);
            distributions.Add(expected, actual);
            referenceLoss += Perplexity.Losses(expected, ids, batch).Sum();
            modelLoss += Perplexity.Losses(actual, ids, batch).Sum();
            scored += ids.Length - batch;
            done += batch;
            progress?.Report((done, sequences.Count));
        }

        if (scored == 0)
        {
            throw new RunningException("there is nothing to compare: at least one sequence of two ids is needed");
        }

        var scores = distributions.Scores;
        var output = new OutputDifference(reference.Signature.Logits!.Name, "first", scores.MaxAbs, scores.RelativeL2, scores.Cosine);
        return ComparisonResult.Of([output], distributions, new PerplexityPair(Math.Exp(referenceLoss / scored), Math.Exp(modelLoss / scored)));
    }

    private static ComparisonResult OnMadeInputs(
        string referenceFile, string modelFile, ComparisonOptions options, IProgress<(int Done, int Total)>? progress, CancellationToken cancellation)
    {
        using var reference = SessionFactory.Open(referenceFile, options.Reference);
        using var model = SessionFactory.Open(modelFile, options.Model);
        var signature = ModelSignature.Of(reference);
        RequireSameNames(signature, ModelSignature.Of(model), Path.GetFileName(modelFile));
        var made = new MadeInputs(referenceFile, signature, ModelConfiguration.Read(options.ConfigurationOf ?? referenceFile), options);
        var steps = made.HasNextStep ? 2 : 1;
        var differences = new List<OutputDifference>();
        var distributions = signature.Logits is null ? null : new DistributionMeter();

        using var first = new ComparisonStep(reference, model, made.First(), made.First(), cancellation);
        first.Measure("first", signature, differences, distributions);
        progress?.Report((1, steps));
        if (made.HasNextStep)
        {
            // Each model goes on from its own past, as it would in use.
            using var next = new ComparisonStep(reference, model, made.Next(first.Expected), made.Next(first.Actual), cancellation);
            next.Measure("next", signature, differences, distributions);
            progress?.Report((2, steps));
        }

        return ComparisonResult.Of(differences, distributions, null);
    }

    private static void RequireSameNames(ModelSignature reference, ModelSignature model, string name)
    {
        if (Missing(reference.Outputs, model.Outputs) is { } output)
        {
            throw new RunningException($"{name} has no output '{output}', which the reference has");
        }

        if (Missing(model.Inputs, reference.Inputs) is { } input)
        {
            throw new RunningException($"{name} has input '{input}', which the reference has not");
        }
    }

    private static string? Missing(IReadOnlyList<TensorSignature> expected, IReadOnlyList<TensorSignature> present) =>
        expected.FirstOrDefault(tensor => present.All(other => other.Name != tensor.Name))?.Name;
}
