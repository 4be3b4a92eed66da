namespace OrtQuant.GraphRewriter.Planning;

/// <summary>Columns of text, as wide as their contents: the same on a terminal, in a file and in a test.</summary>
internal static class TextTable
{
    private const string Gap = "  ";

    /// <summary>Writes a header, a rule and the rows. Columns of numbers are aligned to the right.</summary>
    internal static void Write(TextWriter output, IReadOnlyList<string> header, IEnumerable<string[]> rows)
    {
        var cells = rows.ToList();
        var widths = header.Select((title, column) => cells.Select(row => row[column].Length).Append(title.Length).Max()).ToArray();
        var numeric = header.Select((_, column) => cells.Count > 0 && cells.TrueForAll(row => IsNumber(row[column]))).ToArray();
        Line(header);
        output.WriteLine(string.Join(Gap, widths.Select(width => new string('-', width))));
        foreach (var row in cells) Line(row);

        void Line(IReadOnlyList<string> row) => output.WriteLine(
            string.Join(Gap, row.Select((cell, column) => numeric[column] ? cell.PadLeft(widths[column]) : cell.PadRight(widths[column]))).TrimEnd());
    }

    private static bool IsNumber(string cell) => cell.Length > 0 && cell.All(c => char.IsAsciiDigit(c) || c is '.' or '-' or '%' or ',');
}
