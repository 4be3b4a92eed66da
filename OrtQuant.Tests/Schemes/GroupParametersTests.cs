using System.Text.Json.Nodes;
using OrtQuant.Descriptions;
using OrtQuant.Schemes;
using OrtQuant.Schemes.Group;

namespace OrtQuant.Tests.Schemes;

/// <summary>Parameters of scheme <c>group</c>: defaults, errors, sizes.</summary>
[TestClass]
public sealed class GroupParametersTests
{
    [TestMethod]
    public void AbsentMembersTakeTheDefaults()
    {
        var parsed = GroupScheme.Instance.Parse([]);

        Assert.AreEqual(new GroupParameters(4, 32, ZeroPointKind.Integer, ElementType.Float16), parsed);
        Assert.AreEqual(new GroupParameters(Bits: 8), GroupScheme.Instance.Parse(new JsonObject { ["bits"] = 8 }));
    }

    [TestMethod]
    [DataRow("""{"bits": 5}""", "bits is 5; it must be 2, 3, 4 or 8")]
    [DataRow("""{"bits": "4"}""", "bits is \"4\"; it must be an integer")]
    [DataRow("""{"bits": null}""", "bits is null; it must be an integer")]
    [DataRow("""{"bits": 4.5}""", "bits is 4.5; it must be an integer")]
    [DataRow("""{"group_size": 48}""", "group_size is 48; it must be a power of two, at least 16, or -1 for a whole row")]
    [DataRow("""{"group_size": 8}""", "group_size is 8; it must be a power of two, at least 16, or -1 for a whole row")]
    [DataRow("""{"group_size": 0}""", "group_size is 0; it must be a power of two, at least 16, or -1 for a whole row")]
    [DataRow("""{"zero_point": "real"}""", "zero_point is \"real\"; it must be one of none, integer, float")]
    [DataRow("""{"zero_point": 1}""", "zero_point is 1; it must be one of none, integer, float")]
    [DataRow("""{"scale_type": "bfloat16"}""", "scale_type is \"bfloat16\"; it must be one of float16, float32")]
    [DataRow("""{"block_size": 32}""", "unknown member 'block_size'; scheme 'group' has bits, group_size, zero_point, scale_type")]
    public void ErrorsNameTheActualAndThePermittedValue(string json, string message)
    {
        var error = Assert.ThrowsExactly<OrtQuantException>(() => GroupScheme.Instance.Parse(JsonNode.Parse(json)!.AsObject()));

        Assert.AreEqual(message, error.Message);
    }

    [TestMethod]
    [DataRow(2, 32, "none", 2.5)]
    [DataRow(2, 32, "integer", 2.5625)]
    [DataRow(3, 32, "integer", 3.625)]
    [DataRow(4, 32, "none", 4.5)]
    [DataRow(4, 32, "integer", 4.625)]
    [DataRow(4, 32, "float", 5.0)]
    [DataRow(4, 128, "integer", 4.15625)]
    [DataRow(8, 32, "integer", 8.75)]
    public void SizesAreThoseOfTheSpecification(int bits, int groupSize, string zeroPoint, double expected)
    {
        var parameters = GroupScheme.Instance.Parse(new JsonObject { ["bits"] = bits, ["group_size"] = groupSize, ["zero_point"] = zeroPoint });
        IWeightScheme scheme = GroupScheme.Instance;

        Assert.AreEqual(expected, scheme.BitsPerWeight(new WeightShape(4096, 4096), parameters));
    }

    [TestMethod]
    public void GeometryOfAnAwkwardShape()
    {
        var tensors = GroupScheme.Instance.Tensors(new WeightShape(17, 40), new GroupParameters(3, 16));

        CollectionAssert.AreEqual(
            new[]
            {
                new TensorSpec("W", ElementType.UInt8, [2, 2, 192]),
                new TensorSpec("scales", ElementType.Float16, [2, 3, 16]),
                new TensorSpec("zero_points", ElementType.UInt8, [2, 2, 16]),
            },
            tensors.ToArray());
    }

    [TestMethod]
    public void TheSizeOfAHugeWeightDoesNotOverflow()
    {
        var tensors = GroupScheme.Instance.Tensors(new WeightShape(1 << 30, 1 << 20), new GroupParameters());

        Assert.AreEqual(1L << 49, tensors[0].ByteLength);
    }
}
