using OrtQuant.GraphRewriter.Matching;

namespace OrtQuant.Tests.Matching;

[TestClass]
public sealed class StridedShapeTests
{
    [TestMethod]
    public void StoredMatrixIsRowMajor() => Assert.AreEqual((3L, 4L, false), StridedShape.RowMajor([3, 4]).AsMatrix());

    [TestMethod]
    public void TransposedMatrixIsColumnMajor() => Assert.AreEqual((4L, 3L, true), StridedShape.RowMajor([3, 4]).Transpose(null).AsMatrix());

    [TestMethod]
    public void TwoTransposesCancel() => Assert.AreEqual((3L, 4L, false), StridedShape.RowMajor([3, 4]).Transpose([1, 0]).Transpose([1, 0]).AsMatrix());

    [TestMethod]
    public void SplitDimensionsMergeAgain()
    {
        Assert.IsTrue(StridedShape.RowMajor([6, 4]).TryReshape([2, 3, 4], out var split));
        Assert.IsTrue(split.TryReshape([6, 4], out var merged));
        Assert.AreEqual((6L, 4L, false), merged.AsMatrix());
    }

    [TestMethod]
    public void TransposeOfASplitMatrixMergesWhereMemoryAllows()
    {
        // [2, 3, 4] -> [4, 2, 3]: the last two lie one behind the other, so [4, 6] is the transpose of the stored [6, 4].
        Assert.IsTrue(StridedShape.RowMajor([2, 3, 4]).Transpose([2, 0, 1]).TryReshape([4, 6], out var merged));
        Assert.AreEqual((4L, 6L, true), merged.AsMatrix());
    }

    [TestMethod]
    public void ReshapeAcrossATransposeIsRefused() => Assert.IsFalse(StridedShape.RowMajor([3, 4]).Transpose(null).TryReshape([3, 4], out _));

    [TestMethod]
    public void MiddleTransposeIsNoMatrix()
    {
        Assert.IsTrue(StridedShape.RowMajor([2, 3, 4]).Transpose([1, 0, 2]).TryReshape([3, 2, 4], out var shape));
        Assert.IsNull(shape.AsMatrix());
        Assert.IsFalse(shape.TryReshape([6, 4], out _));
    }

    [TestMethod]
    public void LeadingOnesDoNotCount()
    {
        Assert.IsTrue(StridedShape.RowMajor([3, 4]).TryReshape([1, 1, 3, 4], out var shape));
        Assert.AreEqual((3L, 4L, false), shape.AsMatrix());
    }

    [TestMethod]
    [DataRow(1, 5)]
    [DataRow(5, 1)]
    public void VectorLiesBothWays(int rows, int columns) =>
        Assert.AreEqual(((long)rows, (long)columns, false), StridedShape.RowMajor([rows, columns]).AsMatrix());

    [TestMethod]
    public void OtherNumberOfElementsIsRefused() => Assert.IsFalse(StridedShape.RowMajor([3, 4]).TryReshape([5, 2], out _));
}
