using System.Globalization;
using System.Xml.Linq;
using OrtQuant.GraphRewriter.Benchmarks;
using OrtQuant.GraphRewriter.Evaluation;

namespace OrtQuant.Tests.Evaluation;

[TestClass]
public sealed class EvaluationPageTests
{
    private static readonly Spread Any = new(0.5, 0.1, 0.4, 0.9, 1.5, 2);

    [TestMethod]
    public void PageIsWholeAndEscapesNames()
    {
        var result = new EvaluationResult(
            Model("ref/<b>original</b>", 20, 500, null), [Model("out/a", 21, 90, 0.05), Model("out/\"b\"", 25, 60, 0.2)], 1, 100, 99, 3);

        var page = EvaluationPage.Write(result, new EvaluationDescription("a.txt", Machine.Describe(), 2, null));

        Assert.Contains("&lt;b&gt;original", page);
        Assert.DoesNotContain("<b>", page);
        Assert.DoesNotContain("<script", page);
        Assert.DoesNotContain("http", page, "nothing comes from elsewhere");
        Assert.AreEqual(2, Svgs(page).Length);
    }

    [TestMethod]
    public void BetterPointsLieNearerToTheCorner()
    {
        var result = new EvaluationResult(Model("ref", 20, 500, null), [Model("small", 25, 60, 0.2), Model("large", 21, 90, 0.05)], 1, 100, 99, 3);

        var plot = Svgs(EvaluationPage.Write(result, new EvaluationDescription("a.txt", Machine.Describe(), 2, null)))[0];

        var points = plot.Descendants("circle").Select(circle => (X: Number(circle, "cx"), Y: Number(circle, "cy"))).ToArray();
        Assert.HasCount(2, points);
        Assert.IsLessThan(points[1].X, points[0].X, "60 MB is left of 90 MB");
        Assert.IsLessThan(points[1].Y, points[0].Y, "perplexity 25 is above 21; y grows downwards");
        var level = plot.Descendants("line").Single(line => line.Attribute("class")!.Value == "level");
        Assert.IsGreaterThan(points[1].Y, Number(level, "y1"), "the reference's 20 is below both");
        CollectionAssert.IsSubsetOf(new[] { "small", "large" }, plot.Descendants("text").Select(text => text.Value).ToArray());
    }

    [TestMethod]
    public void ManyNamesInOnePlaceBecomeNumbersAndNeverCover()
    {
        var points = Enumerable.Range(1, 12).Select(i => new PlotPoint(i, $"a model with a long name {i}", 100 + i % 3, 20 + 0.01 * i)).ToArray();

        var plot = XElement.Parse(new ScatterPlot("title", "x", "y", points, null).ToSvg());

        Assert.HasCount(12, plot.Descendants("circle").ToArray());
        var labels = plot.Descendants("text").Where(text => text.Attribute("class")!.Value == "label").ToArray();
        Assert.IsNotEmpty(labels);
        Assert.HasCount(labels.Length, labels.Select(label => (Number(label, "x"), Number(label, "y"))).Distinct().ToArray());
    }

    [TestMethod]
    public void WhatIsNoNumberIsLeftOut()
    {
        Assert.AreEqual("", new ScatterPlot("title", "x", "y", [new PlotPoint(1, "a", 1, double.NaN)], null).ToSvg());
        var plot = XElement.Parse(new ScatterPlot("title", "x", "y", [new PlotPoint(1, "a", 1, 2), new PlotPoint(2, "b", 1, double.PositiveInfinity)], null).ToSvg());
        Assert.HasCount(1, plot.Descendants("circle").ToArray());
    }

    [TestMethod]
    [DataRow(1.0, 2.0)]
    [DataRow(0.001, 4.6)]
    [DataRow(28.69, 36666.0)]
    [DataRow(5.0, 5.0)]
    [DataRow(-3.0, 4.0)]
    public void AxisHoldsItsNumbersAndHasTicksInOrder(double low, double high)
    {
        var axis = PlotAxis.Over([low, high, (low + high) / 2]);

        Assert.IsGreaterThan(0, axis.Place(low));
        Assert.IsLessThan(1, axis.Place(high));
        Assert.IsGreaterThanOrEqualTo(2, axis.Ticks.Count);
        CollectionAssert.AreEqual(axis.Ticks.Order().ToArray(), axis.Ticks.ToArray());
        Assert.IsTrue(axis.Ticks.All(tick => axis.Place(tick) is >= 0 and <= 1));
        Assert.HasCount(axis.Ticks.Count, axis.Ticks.Select(axis.Label).Distinct().ToArray());
    }

    private static EvaluatedModel Model(string name, double perplexity, double megabytes, double? divergence) => new()
    {
        Name = name,
        Perplexity = perplexity,
        Bytes = (long)(megabytes * 1e6),
        BitsPerWeight = megabytes / 20,
        LayerBitsPerWeight = megabytes / 20,
        LoadSeconds = 1,
        Fidelity = divergence is { } mean ? new Fidelity(Any with { Mean = mean }, Any, 0.9) : null,
    };

    private static XElement[] Svgs(string page) =>
        [.. page.Split("<svg").Skip(1).Select(part => XElement.Parse($"<svg{part[..part.IndexOf("</svg>", StringComparison.Ordinal)]}</svg>"))];

    private static double Number(XElement element, string attribute) => double.Parse(element.Attribute(attribute)!.Value, CultureInfo.InvariantCulture);
}
