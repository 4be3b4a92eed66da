using System.Globalization;
using System.Net;
using System.Text;

namespace OrtQuant.GraphRewriter.Evaluation;

/// <summary>A point of a plot.</summary>
/// <param name="Number">Its number in the table beside the plot: the label where there is no room for the name.</param>
/// <param name="Name">Its name.</param>
/// <param name="X">Smaller is better.</param>
/// <param name="Y">Smaller is better.</param>
internal sealed record PlotPoint(int Number, string Name, double X, double Y);

/// <summary>A scatter plot as SVG, with the line of the points that none beats in both directions. Colours come from the page's style.</summary>
/// <param name="Title">What is plotted.</param>
/// <param name="XTitle">Name and unit of x.</param>
/// <param name="YTitle">Name and unit of y.</param>
/// <param name="Points">What to draw; those without finite figures are left out.</param>
/// <param name="Line">A level to compare y with, and what it is; null for none.</param>
internal sealed record ScatterPlot(string Title, string XTitle, string YTitle, IReadOnlyList<PlotPoint> Points, (double Y, string Name)? Line)
{
    private const double Width = 600, Height = 400, Left = 62, Right = 18, Top = 40, Bottom = 50;
    private const double LetterWidth = 6.6, LetterHeight = 14;
    private const int LongestLabel = 28;

    private readonly record struct Box(double X, double Y, double W, double H)
    {
        public bool Meets(Box other) => X < other.X + other.W && other.X < X + W && Y < other.Y + other.H && other.Y < Y + H;
    }

    /// <summary>The SVG element; empty where no point can be drawn.</summary>
    internal string ToSvg()
    {
        var points = Points.Where(point => double.IsFinite(point.X) && double.IsFinite(point.Y)).ToList();
        if (points.Count == 0) return "";
        var x = PlotAxis.Over([.. points.Select(point => point.X)]);
        var y = PlotAxis.Over([.. points.Select(point => point.Y), .. Line is { } line && double.IsFinite(line.Y) ? [line.Y] : Array.Empty<double>()]);
        var svg = new StringBuilder();
        svg.Append(CultureInfo.InvariantCulture, $"""<svg viewBox="0 0 {Width} {Height}" role="img" aria-label="{Escape(Title)}">""").Append('\n');
        Text(svg, Left, 20, Title, "title", "start");
        DrawAxes(svg, x, y);
        var placed = new List<Box>();
        if (Line is { } level && double.IsFinite(level.Y)) DrawLevel(svg, Y(y, level.Y), level.Name, placed);
        DrawFrontier(svg, points, x, y);
        placed.AddRange(points.Select(point => new Box(X(x, point.X) - 6, Y(y, point.Y) - 6, 12, 12)));
        foreach (var point in points)
        {
            svg.Append(CultureInfo.InvariantCulture, $"""<circle class="point" cx="{X(x, point.X):0.0}" cy="{Y(y, point.Y):0.0}" r="5"><title>{Escape($"{point.Name}: {XTitle} {point.X:g5}, {YTitle} {point.Y:g5}")}</title></circle>""").Append('\n');
        }

        foreach (var point in points) DrawLabel(svg, point, X(x, point.X), Y(y, point.Y), placed);
        return svg.Append("</svg>\n").ToString();
    }

    private static double X(PlotAxis axis, double value) => Left + axis.Place(value) * (Width - Left - Right);

    private static double Y(PlotAxis axis, double value) => Height - Bottom - axis.Place(value) * (Height - Top - Bottom);

    private void DrawAxes(StringBuilder svg, PlotAxis x, PlotAxis y)
    {
        foreach (var tick in x.Ticks)
        {
            Segment(svg, "grid", X(x, tick), Top, X(x, tick), Height - Bottom);
            Text(svg, X(x, tick), Height - Bottom + 17, x.Label(tick), "tick", "middle");
        }

        foreach (var tick in y.Ticks)
        {
            Segment(svg, "grid", Left, Y(y, tick), Width - Right, Y(y, tick));
            Text(svg, Left - 8, Y(y, tick) + 4, y.Label(tick), "tick", "end");
        }

        Segment(svg, "axis", Left, Height - Bottom, Width - Right, Height - Bottom);
        Text(svg, (Left + Width - Right) / 2, Height - 12, XTitle, "name", "middle");
        svg.Append(CultureInfo.InvariantCulture, $"""<text class="name" text-anchor="middle" transform="translate(15 {(Top + Height - Bottom) / 2}) rotate(-90)">{Escape(YTitle)}</text>""").Append('\n');
    }

    private static void DrawLevel(StringBuilder svg, double y, string name, List<Box> placed)
    {
        Segment(svg, "level", Left, y, Width - Right, y);
        var width = name.Length * LetterWidth;
        Text(svg, Width - Right - 4, y - 5, name, "level-name", "end");
        placed.Add(new Box(Width - Right - 4 - width, y - 5 - LetterHeight, width, LetterHeight + 6));
    }

    private static void DrawFrontier(StringBuilder svg, List<PlotPoint> points, PlotAxis x, PlotAxis y)
    {
        var frontier = new List<PlotPoint>();
        foreach (var point in points.OrderBy(point => point.X).ThenBy(point => point.Y))
        {
            if (frontier.Count == 0 || point.Y < frontier[^1].Y) frontier.Add(point);
        }

        if (frontier.Count < 2) return;
        var path = string.Join(' ', frontier.Select(point => string.Create(CultureInfo.InvariantCulture, $"{X(x, point.X):0.0},{Y(y, point.Y):0.0}")));
        svg.Append(CultureInfo.InvariantCulture, $"""<polyline class="frontier" points="{path}"/>""").Append('\n');
    }

    /// <summary>The name beside its point where it covers nothing, else the number.</summary>
    private static void DrawLabel(StringBuilder svg, PlotPoint point, double x, double y, List<Box> placed)
    {
        var name = point.Name.Length > LongestLabel ? $"…{point.Name[^(LongestLabel - 1)..]}" : point.Name;
        foreach (var text in (ReadOnlySpan<string>)[name, $"{point.Number}"])
        {
            var width = text.Length * LetterWidth;
            ReadOnlySpan<(double X, double Y, string Anchor)> places =
            [
                (x + 9, y + 4, "start"), (x - 9, y + 4, "end"), (x, y - 10, "middle"), (x, y + 19, "middle"),
                (x + 8, y - 8, "start"), (x - 8, y - 8, "end"), (x + 8, y + 16, "start"), (x - 8, y + 16, "end"),
            ];
            foreach (var (placeX, placeY, anchor) in places)
            {
                var left = anchor switch { "start" => placeX, "end" => placeX - width, _ => placeX - width / 2 };
                var box = new Box(left, placeY - LetterHeight + 3, width, LetterHeight);
                if (box.X < Left || box.X + box.W > Width || box.Y < Top - LetterHeight || box.Y + box.H > Height - Bottom || placed.Any(box.Meets)) continue;
                placed.Add(box);
                Text(svg, placeX, placeY, text, "label", anchor);
                return;
            }
        }
    }

    private static void Segment(StringBuilder svg, string style, double x1, double y1, double x2, double y2) =>
        svg.Append(CultureInfo.InvariantCulture, $"""<line class="{style}" x1="{x1:0.0}" y1="{y1:0.0}" x2="{x2:0.0}" y2="{y2:0.0}"/>""").Append('\n');

    private static void Text(StringBuilder svg, double x, double y, string text, string style, string anchor) =>
        svg.Append(CultureInfo.InvariantCulture, $"""<text class="{style}" text-anchor="{anchor}" x="{x:0.0}" y="{y:0.0}">{Escape(text)}</text>""").Append('\n');

    private static string Escape(string text) => WebUtility.HtmlEncode(text);
}
