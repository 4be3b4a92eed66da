using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using OrtQuant.Descriptions;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Smooth;

namespace OrtQuant.Tests.Schemes;

/// <summary>Parameters of scheme <c>smooth</c>, and what is said of nodes that do not keep its contract.</summary>
[TestClass]
public sealed class SmoothTests
{
    private const int N = 16, K = 64;

    private static readonly SmoothParameters Parameters = new(32, 32, 8, SmoothScope.None);

    [TestMethod]
    [DataRow("""{}""", 32, 32, 4, SmoothScope.Token)]
    [DataRow("""{"group_size": 64}""", 64, 64, 4, SmoothScope.Token)]
    [DataRow("""{"group_size": -1}""", -1, 128, 4, SmoothScope.Token)]
    [DataRow("""{"smooth_size": 128, "group_size": 16, "activation_bits": 8, "smooth_scope": "call", "bits": 4, "zero_point": "none"}""", 16, 128, 8, SmoothScope.Call)]
    public void AbsentMembersFollowTheOthers(string json, int groupSize, int smoothSize, int activationBits, SmoothScope scope)
    {
        var parsed = SmoothScheme.Instance.Parse(JsonNode.Parse(json)!.AsObject());

        Assert.AreEqual(new SmoothParameters(groupSize, smoothSize, activationBits, scope), parsed);
    }

    [TestMethod]
    [DataRow("""{"bits": 3}""", "bits is 3; scheme 'smooth' has 4")]
    [DataRow("""{"group_size": 48}""", "group_size is 48; it must be a power of two, at least 16, or -1")]
    [DataRow("""{"smooth_size": 8}""", "smooth_size is 8; it must be a power of two from 16 to 1048576")]
    [DataRow("""{"activation_bits": 6}""", "activation_bits is 6; it must be 4 or 8")]
    [DataRow("""{"activation_bits": "4"}""", "activation_bits is \"4\"; it must be an integer")]
    [DataRow("""{"smooth_scope": "batch"}""", "smooth_scope is \"batch\"; it must be one of none, token, call")]
    [DataRow("""{"zero_point": "integer"}""", "zero_point is \"integer\"; scheme 'smooth' has none")]
    [DataRow("""{"planes": 2}""", "unknown member 'planes'; scheme 'smooth' has bits, group_size, smooth_size")]
    public void BadParametersAreNamed(string json, string message) =>
        Assert.Contains(message, Assert.ThrowsExactly<OrtQuantException>(() => SmoothScheme.Instance.Parse(JsonNode.Parse(json)!.AsObject())).Message);

    [TestMethod]
    public void BadNodesAreNamed()
    {
        ShouldFail("attribute 'smooth_scope' is missing", attributes => attributes.RemoveAll(attribute => attribute.Name == "smooth_scope"));
        ShouldFail("attribute 'smooth_scope' is 'batch'; permitted: 'call', 'token', 'none'", Replace(OpAttributeValue.String("smooth_scope", "batch")));
        ShouldFail("attribute 'activation_bits' is 5; permitted: 4, 8", Replace(OpAttributeValue.Int("activation_bits", 5)));
        ShouldFail("smooth_size is 48; permitted: powers of two from 16 to 1048576", Replace(OpAttributeValue.Int("smooth_size", 48)));
        ShouldFail("block_size is 8; permitted: a power of two >= 16, or -1", Replace(OpAttributeValue.Int("block_size", 8)));
        ShouldFail("attribute 'accuracy_level' is 2; permitted: 0, 1, 4", Replace(OpAttributeValue.Int("accuracy_level", 2)));
        ShouldFail("attribute 'layout' is 'row'; permitted: 'n16'", Replace(OpAttributeValue.String("layout", "row")));
        ShouldFail("attribute 'format_version' is 2: the model is newer than this library", Replace(OpAttributeValue.Int("format_version", 2)));
        ShouldFail("input 2 'scales' has shape [1, 2, 16]; required: [1, 4, 16]", Replace(OpAttributeValue.Int("block_size", 16)));
        ShouldFail("channel_order[63] is 64; permitted: 0 to K - 1 = 63", order: [.. Enumerable.Range(0, K - 1), K]);
        ShouldFail("channel_order[63] is 0 as an entry before it", order: [.. Enumerable.Range(0, K - 1), 0]);
        ShouldFail("input 3 'channel_order' has shape [63]; required: [64]", order: [.. Enumerable.Range(0, K - 1)]);
    }

    /// <summary>X with its channels in another order, and that order as an input, give what X gives.</summary>
    [TestMethod]
    public void AnOrderThatUndoesAnotherChangesNothing()
    {
        int[] order = [.. Enumerable.Range(0, K)];
        new Random(3).Shuffle(order);
        var x = Values(K);
        var moved = new float[K];
        for (var p = 0; p < K; p++) moved[order[p]] = x[p];

        CollectionAssert.AreEqual(Run([.. Attributes()], x, null), Run([.. Attributes()], moved, order));
        CollectionAssert.AreNotEqual(Run([.. Attributes()], x, null), Run([.. Attributes()], moved, null));
    }

    private static IReadOnlyList<OpAttributeValue> Attributes() => SmoothScheme.Instance.Attributes(new WeightShape(N, K), Parameters, accuracyLevel: 4);

    private static Action<List<OpAttributeValue>> Replace(OpAttributeValue value) => attributes =>
    {
        attributes.RemoveAll(attribute => attribute.Name == value.Name);
        attributes.Add(value);
    };

    private static void ShouldFail(string message, Action<List<OpAttributeValue>>? change = null, int[]? order = null)
    {
        List<OpAttributeValue> attributes = [.. Attributes()];
        change?.Invoke(attributes);

        Assert.Contains(message, Assert.ThrowsExactly<OrtQuantException>(() => Run(attributes, Values(K), order)).Message);
    }

    private static float[] Run(IReadOnlyList<OpAttributeValue> attributes, float[] x, int[]? order)
    {
        var (grid, _) = SchemeSuiteTests.Quantize(SmoothScheme.Instance, new WeightShape(N, K), Parameters, seed: 1);
        using (grid)
        {
            var weights = SmoothScheme.Instance.Tensors(new WeightShape(N, K), Parameters).Zip(SmoothScheme.Instance.Encode(grid))
                .Select(pair => new TensorMemory(pair.First.Type, pair.First.Shape, pair.Second));
            var stored = order is null ? TensorMemory.Absent : new TensorMemory(ElementType.Int32, [order.Length], MemoryMarshal.AsBytes<int>(order).ToArray());
            var y = new TensorMemory(ElementType.Float32, [1, N], new byte[N * 4]);
            NativeOp.Run(SmoothOp.MatMul.Name, attributes, [new TensorMemory(ElementType.Float32, [1, K], MemoryMarshal.AsBytes<float>(x).ToArray()), .. weights, stored], y);
            return MemoryMarshal.Cast<byte, float>(y.Data.Span).ToArray();
        }
    }

    private static float[] Values(int count)
    {
        var random = new Random(2);
        return [.. Enumerable.Range(0, count).Select(_ => (random.NextSingle() * 2) - 1)];
    }
}
