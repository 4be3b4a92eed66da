using Google.Protobuf;
using Onnx;

namespace OrtQuant.Tests.Support;

/// <summary>A language model simple enough to work out by hand: the scores of the next token are a row of a table, chosen by the last token.</summary>
internal static class TableModel
{
    /// <summary>Writes a model with one op, <c>logits = Gather(table, input_ids)</c>.</summary>
    /// <param name="path">Where to.</param>
    /// <param name="table">Scores [vocabulary, vocabulary]; row: last token.</param>
    /// <param name="cumulative">Scores are sums over all tokens so far, so that the whole sequence matters.</param>
    /// <returns><paramref name="path"/>.</returns>
    public static string Write(string path, float[,] table, bool cumulative = false)
    {
        var vocabulary = table.GetLength(0);
        var initializer = new TensorProto { Name = "table", DataType = (int)TensorProto.Types.DataType.Float };
        initializer.Dims.Add([vocabulary, vocabulary]);
        initializer.FloatData.Add(table.Cast<float>());
        var gather = new NodeProto { OpType = "Gather", Name = "embedding" };
        gather.Input.Add(["table", "input_ids"]);
        gather.Output.Add(cumulative ? "rows" : "logits");

        var graph = new GraphProto { Name = "table" };
        graph.Node.Add(gather);
        graph.Initializer.Add(initializer);
        if (cumulative)
        {
            graph.Initializer.Add(new TensorProto { Name = "axis", DataType = (int)TensorProto.Types.DataType.Int64, Int64Data = { 1 } });
            graph.Node.Add(new NodeProto { OpType = "CumSum", Name = "sum", Input = { "rows", "axis" }, Output = { "logits" } });
        }

        graph.Input.Add(Value("input_ids", TensorProto.Types.DataType.Int64, "batch_size", "sequence_length"));
        graph.Output.Add(Value("logits", TensorProto.Types.DataType.Float, "batch_size", "sequence_length", vocabulary));
        var model = new ModelProto { IrVersion = 8, Graph = graph };
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = 18 });
        File.WriteAllBytes(path, model.ToByteArray());
        return path;
    }

    /// <summary>A table of random scores.</summary>
    public static float[,] Random(int vocabulary, int seed)
    {
        var random = new Random(seed);
        var table = new float[vocabulary, vocabulary];
        for (var i = 0; i < table.Length; i++)
        {
            table[i / vocabulary, i % vocabulary] = (float)(6 * random.NextDouble());
        }

        return table;
    }

    /// <summary>-log of the softmax probability of a token, in double precision.</summary>
    public static double Loss(float[,] table, long last, long next)
    {
        var sum = 0.0;
        for (var id = 0; id < table.GetLength(1); id++)
        {
            sum += Math.Exp(table[last, id]);
        }

        return Math.Log(sum) - table[last, next];
    }

    private static ValueInfoProto Value(string name, TensorProto.Types.DataType type, params object[] shape)
    {
        var tensor = new TypeProto.Types.Tensor { ElemType = (int)type, Shape = new TensorShapeProto() };
        foreach (var size in shape)
        {
            tensor.Shape.Dim.Add(size is string symbol
                ? new TensorShapeProto.Types.Dimension { DimParam = symbol }
                : new TensorShapeProto.Types.Dimension { DimValue = (int)size });
        }

        return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = tensor } };
    }
}
