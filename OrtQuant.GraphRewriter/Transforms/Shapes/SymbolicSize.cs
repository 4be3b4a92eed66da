using System.Globalization;

namespace OrtQuant.GraphRewriter.Transforms.Shapes;

/// <summary>
/// A whole number as far as it is known before a model runs: a polynomial with integer coefficients over unknown sizes (a batch, a
/// length). Two that are equal here are equal in every run; two that differ here may still be.
/// </summary>
internal sealed class SymbolicSize : IEquatable<SymbolicSize>
{
    private readonly SortedDictionary<string, long> _terms;

    private SymbolicSize(SortedDictionary<string, long> terms)
    {
        foreach (var zero in terms.Where(term => term.Value == 0).Select(term => term.Key).ToList()) terms.Remove(zero);
        _terms = terms;
        Key = string.Join('+', terms.Select(term => string.Create(CultureInfo.InvariantCulture, $"{term.Value}*{term.Key}")));
    }

    internal static SymbolicSize One { get; } = Of(1);

    /// <summary>The same for equal numbers.</summary>
    internal string Key { get; }

    /// <summary>The number, where it is known.</summary>
    internal long? Value => _terms.Count == 0 ? 0 : _terms.Count == 1 && _terms.TryGetValue("", out var value) ? value : null;

    /// <summary>Sizes are not negative, so this is what can be seen from the coefficients.</summary>
    internal bool IsSurelyNotNegative => _terms.Values.All(coefficient => coefficient > 0);

    internal static SymbolicSize Of(long value) => new(new SortedDictionary<string, long>(StringComparer.Ordinal) { [""] = value });

    /// <summary>A size that is not known; the number names it.</summary>
    internal static SymbolicSize Unknown(int symbol) =>
        new(new SortedDictionary<string, long>(StringComparer.Ordinal) { [$"s{symbol.ToString(CultureInfo.InvariantCulture)}"] = 1 });

    internal static SymbolicSize? Add(SymbolicSize a, SymbolicSize b) => Combine(a, b, 1);

    internal static SymbolicSize? Subtract(SymbolicSize a, SymbolicSize b) => Combine(a, b, -1);

    internal static SymbolicSize? Multiply(SymbolicSize a, SymbolicSize b)
    {
        var terms = new SortedDictionary<string, long>(StringComparer.Ordinal);
        try
        {
            foreach (var (x, p) in a._terms)
            {
                foreach (var (y, q) in b._terms)
                {
                    var symbols = string.Join('.', Symbols(x).Concat(Symbols(y)).Order(StringComparer.Ordinal));
                    terms[symbols] = checked(terms.GetValueOrDefault(symbols) + checked(p * q));
                }
            }
        }
        catch (OverflowException)
        {
            return null;
        }

        return new SymbolicSize(terms);
    }

    /// <summary>The quotient where it is a whole number in every run, or both numbers are known (then rounded towards zero); else null.</summary>
    internal static SymbolicSize? Divide(SymbolicSize a, SymbolicSize b)
    {
        if (b._terms.Count != 1) return null;
        var (divisorSymbols, divisor) = b._terms.First();
        if (a.Value is { } number && b.Value is { } by) return by is 0 or -1 ? null : Of(number / by);
        var terms = new SortedDictionary<string, long>(StringComparer.Ordinal);
        foreach (var (symbols, coefficient) in a._terms)
        {
            var rest = Symbols(symbols).ToList();
            if (coefficient % divisor != 0 || !Symbols(divisorSymbols).All(rest.Remove)) return null;
            terms[string.Join('.', rest)] = coefficient / divisor;
        }

        return new SymbolicSize(terms);
    }

    /// <summary>Whether two numbers are the same in every run (true), in none (false), or that is not known (null).</summary>
    internal static bool? AreEqual(SymbolicSize a, SymbolicSize b)
    {
        if (a.Equals(b)) return true;
        if (Subtract(a, b) is not { } difference) return null;
        if (difference.Value is not null) return false;

        // One side negative, the other not: an Equal with -1 in exporters' Expand.
        return (a.Value < 0 && b.IsSurelyNotNegative) || (b.Value < 0 && a.IsSurelyNotNegative) ? false : null;
    }

    public bool Equals(SymbolicSize? other) => other is not null && other.Key == Key;

    public override bool Equals(object? obj) => Equals(obj as SymbolicSize);

    public override int GetHashCode() => Key.GetHashCode(StringComparison.Ordinal);

    public override string ToString() => Key;

    private static SymbolicSize? Combine(SymbolicSize a, SymbolicSize b, long sign)
    {
        var terms = new SortedDictionary<string, long>(a._terms, StringComparer.Ordinal);
        try
        {
            foreach (var (symbols, coefficient) in b._terms) terms[symbols] = checked(terms.GetValueOrDefault(symbols) + checked(sign * coefficient));
        }
        catch (OverflowException)
        {
            return null;
        }

        return new SymbolicSize(terms);
    }

    private static string[] Symbols(string term) => term.Length == 0 ? [] : term.Split('.');
}
