using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;
using Onnx;

namespace OrtQuant.GraphRewriter.Running;

/// <summary>
/// A Hugging Face tokenizer. Text becomes ids through the operator <c>HfJsonTokenizer</c> of ONNX Runtime Extensions, so that nothing
/// of the algorithm is our own; ids become text through the vocabulary.
/// </summary>
public sealed class Tokenizer : IDisposable
{
    private readonly InferenceSession _session;

    private Tokenizer(TokenizerFile file, InferenceSession session)
    {
        File = file;
        _session = session;
    }

    /// <summary>The stored tokenizer.</summary>
    public TokenizerFile File { get; }

    /// <summary>Opens a tokenizer.</summary>
    /// <param name="folder">A folder with tokenizer.json and, if there is one, tokenizer_config.json.</param>
    /// <exception cref="RunningException">The files are missing or not understood.</exception>
    public static Tokenizer Open(string folder)
    {
        var file = TokenizerFile.Read(folder);
        using var options = SessionFactory.CreateOptions(new SessionSettings { Threads = 1, UseLibrary = false });
        try
        {
            options.RegisterOrtExtensions();
            return new Tokenizer(file, new InferenceSession(Model(file).ToByteArray(), options));
        }
        catch (OnnxRuntimeException exception)
        {
            throw new RunningException($"ONNX Runtime Extensions cannot read the tokenizer in {file.Folder}: {exception.Message}", exception);
        }
    }

    /// <summary>The ids of a text, special tokens that stand in it included, and those that the tokenizer adds itself.</summary>
    public long[] Encode(string text)
    {
        using var input = OrtValue.CreateTensorWithEmptyStrings(OrtAllocator.DefaultInstance, [1]);
        input.StringTensorSetElementAt(text, 0);
        using var options = new RunOptions();
        try
        {
            using var outputs = _session.Run(options, ["text"], [input], ["ids"]);
            return outputs[0].GetTensorDataAsSpan<long>().ToArray();
        }
        catch (OnnxRuntimeException exception)
        {
            throw new RunningException($"the tokenizer in {File.Folder} fails: {exception.Message}", exception);
        }
    }

    /// <summary>The ids of a text, with or without the id that begins a sequence, whatever the tokenizer does by itself.</summary>
    /// <param name="text">The text.</param>
    /// <param name="beginOfSequence">Whether the first id is the one that begins a sequence.</param>
    /// <exception cref="RunningException">The tokenizer has no such id.</exception>
    public long[] Encode(string text, bool beginOfSequence)
    {
        var ids = Encode(text).AsSpan();
        var begin = File.BeginOfSequence;
        if (ids.Length > 0 && ids[0] == begin && !text.StartsWith(File.Pieces[begin.Value]!, StringComparison.Ordinal))
        {
            ids = ids[1..];
        }

        if (!beginOfSequence)
        {
            return ids.ToArray();
        }

        return begin is { } id ? [id, .. ids] : throw new RunningException($"tokenizer_config.json in {File.Folder} names no bos_token");
    }

    /// <summary>The text of ids, without control tokens.</summary>
    public string Decode(IEnumerable<long> ids)
    {
        var decoder = new TokenDecoder(File);
        return string.Concat(ids.Select(decoder.Append)) + decoder.Flush();
    }

    /// <inheritdoc/>
    public void Dispose() => _session.Dispose();

    // text [1] -> HfJsonTokenizer -> ids [1, n]
    private static ModelProto Model(TokenizerFile file)
    {
        var node = new NodeProto { OpType = "HfJsonTokenizer", Domain = "ai.onnx.contrib", Name = "tokenizer" };
        node.Input.Add("text");
        node.Output.Add("ids");
        node.Attribute.Add(Text("tokenizer_config", file.ConfigurationJson));
        node.Attribute.Add(Text("tokenizer_vocab", file.TokenizerJson));
        var graph = new GraphProto { Name = "tokenizer" };
        graph.Node.Add(node);
        graph.Input.Add(Tensor("text", TensorProto.Types.DataType.String));
        graph.Output.Add(Tensor("ids", TensorProto.Types.DataType.Int64));
        var model = new ModelProto { IrVersion = 8, Graph = graph };
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = 18 });
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = "ai.onnx.contrib", Version = 1 });
        return model;
    }

    private static AttributeProto Text(string name, string value) =>
        new() { Name = name, Type = AttributeProto.Types.AttributeType.String, S = ByteString.CopyFromUtf8(value) };

    private static ValueInfoProto Tensor(string name, TensorProto.Types.DataType type) =>
        new() { Name = name, Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)type } } };
}
