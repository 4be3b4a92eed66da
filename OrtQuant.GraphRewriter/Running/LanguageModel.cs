using Microsoft.ML.OnnxRuntime;

namespace OrtQuant.GraphRewriter.Running;

/// <summary>A decoder-only language model open in ONNX Runtime.</summary>
public sealed class LanguageModel : IDisposable
{
    private LanguageModel(string file, InferenceSession session, ModelSignature signature, ModelConfiguration configuration)
    {
        File = file;
        Session = session;
        Signature = signature;
        Configuration = configuration;
    }

    /// <summary>Path of the graph.</summary>
    public string File { get; }

    /// <summary>The session.</summary>
    public InferenceSession Session { get; }

    /// <summary>Meaning of inputs and outputs.</summary>
    public ModelSignature Signature { get; }

    /// <summary>What the files beside the graph say.</summary>
    public ModelConfiguration Configuration { get; }

    /// <summary>Past and present may be one buffer that runs write in place.</summary>
    public bool CanShareCacheBuffer =>
        Configuration.ShareCacheBuffer && Signature.Cache.All(pair => pair.Past.Type == pair.Present.Type);

    /// <summary>Opens a model.</summary>
    /// <param name="modelFile">The graph.</param>
    /// <param name="settings">How to open it.</param>
    /// <param name="configuration">Sizes that the graph does not give; null: what the files beside it say.</param>
    /// <exception cref="RunningException">It cannot be opened or is no decoder-only language model.</exception>
    public static LanguageModel Open(string modelFile, SessionSettings settings, ModelConfiguration? configuration = null)
    {
        var session = SessionFactory.Open(modelFile, settings);
        try
        {
            var signature = ModelSignature.Of(session);
            signature.RequireLanguageModel(Path.GetFileName(modelFile));
            return new LanguageModel(modelFile, session, signature, configuration ?? ModelConfiguration.Read(modelFile));
        }
        catch
        {
            session.Dispose();
            throw;
        }
    }

    /// <summary>Starts sequences with an empty KV cache.</summary>
    /// <param name="batch">Sequences decoded together, all of one length.</param>
    /// <param name="capacity">Most positions a sequence will have.</param>
    /// <param name="shareBuffer">Whether past and present are one buffer of full length; null: where <see cref="CanShareCacheBuffer"/>.</param>
    public DecodingState Start(int batch, int capacity, bool? shareBuffer = null) => new(this, batch, capacity, shareBuffer ?? CanShareCacheBuffer);

    /// <summary>Scores of one batch of sequences that are complete: nothing is kept of them.</summary>
    /// <param name="ids">Token ids [batch, count], row-major.</param>
    /// <param name="batch">Number of sequences.</param>
    /// <param name="cancellation">Ends the run early.</param>
    public Logits Score(ReadOnlySpan<long> ids, int batch, CancellationToken cancellation = default)
    {
        using var state = Start(batch, ids.Length / batch);
        return state.Append(ids, cancellation);
    }

    /// <inheritdoc/>
    public void Dispose() => Session.Dispose();
}
