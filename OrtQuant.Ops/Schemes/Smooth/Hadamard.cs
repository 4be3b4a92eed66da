using System.Numerics;

namespace OrtQuant.Schemes.Smooth;

/// <summary>
/// Hadamard matrices of order n = m * 2^k (SPEC.md, "HadamardTransform"): H_m and k factors [1 1; 1 -1], as a Kronecker product. m is 1 or an order that is built here by
/// Paley's constructions, for 172 by Williamson's.
/// </summary>
public static class Hadamard
{
    /// <summary>Largest order.</summary>
    public const int MaxOrder = 1 << 24;

    private const int WilliamsonPrime = 43;

    // The order of a dense factor, its prime, and whether it is Paley's second construction. One for each odd part, so that n has one factor at most.
    private static readonly (int Order, int Prime, bool Second)[] Factors =
    [
        (12, 11, false), (20, 19, false), (28, 13, true), (36, 17, true), (44, 43, false), (60, 59, false),
        (68, 67, false), (76, 37, true), (108, 107, false), (140, 139, false), (148, 73, true), (4 * WilliamsonPrime, WilliamsonPrime, false),
    ];

    // Signs of Williamson's four circulants on the cosets 3^j {1, 6, 36, -1, -6, -36} of the units modulo 43.
    private static readonly int[][] WilliamsonSigns = [[1, 1, 1, 1, -1, -1, -1], [-1, 1, 1, -1, -1, 1, -1], [-1, 1, -1, 1, 1, 1, -1], [-1, -1, 1, 1, -1, 1, 1]];
    private static readonly int[][] WilliamsonBlocks = [[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]];
    private static readonly int[][] WilliamsonBlockSigns = [[1, 1, 1, 1], [-1, 1, -1, 1], [-1, 1, 1, -1], [-1, -1, 1, 1]];

    /// <summary>The orders of the dense factor.</summary>
    public static IReadOnlyList<int> FactorOrders { get; } = [.. Factors.Select(factor => factor.Order)];

    /// <summary>The dense factor m of an order n = m * 2^k; null where there is no such m.</summary>
    public static int? FactorOf(long n)
    {
        if (n is < 1 or > MaxOrder) return null;
        if (BitOperations.IsPow2(n)) return 1;
        return FactorOrders.Where(order => n % order == 0 && BitOperations.IsPow2(n / order)).Select(order => (int?)order).FirstOrDefault();
    }

    /// <summary>Why there is no matrix of that order; null where there is.</summary>
    internal static string? Obstacle(long n) =>
        FactorOf(n) is null ? $"{n} is no order of a Hadamard transform; permitted: powers of two up to {MaxOrder} and their multiples by {string.Join(", ", FactorOrders)}" : null;

    /// <summary>H_m, <c>[m, m]</c> row-major, of 1 and -1.</summary>
    /// <param name="order">1 or one of <see cref="FactorOrders"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such factor.</exception>
    public static sbyte[] Matrix(int order)
    {
        if (order == 1) return [1];
        var factor = Factors.FirstOrDefault(factor => factor.Order == order);
        if (factor.Order == 0) throw new ArgumentOutOfRangeException(nameof(order), order, $"permitted: 1, {string.Join(", ", FactorOrders)}");
        var character = QuadraticCharacter(factor.Prime);
        var matrix = new sbyte[order * order];
        for (var i = 0; i < order; i++)
        {
            for (var j = 0; j < order; j++)
            {
                matrix[(i * order) + j] = (sbyte)(factor.Prime == WilliamsonPrime && order != WilliamsonPrime + 1 ? Williamson(i, j)
                    : factor.Second ? PaleySecond(character, i, j)
                    : Conference(character, i, j) + (i == j ? 1 : 0));
            }
        }

        return matrix;
    }

    /// <summary>Multiplies a row by H^T / sqrt(n): what the op does to activations, and what is done once to the rows of the weight that they meet.</summary>
    /// <param name="row">n values; overwritten.</param>
    /// <param name="factor">H_m, of <see cref="Matrix"/> for <see cref="FactorOf"/> n.</param>
    /// <param name="room">n values of working memory.</param>
    internal static void Transform(Span<double> row, ReadOnlySpan<sbyte> factor, Span<double> room)
    {
        var order = (int)Math.Sqrt(factor.Length);
        var power = row.Length / order;
        for (var a = 0; a < order; a++) WalshHadamard(row.Slice(a * power, power));
        var scale = 1 / Math.Sqrt(row.Length);
        room[..row.Length].Clear();
        for (var a = 0; a < order; a++)
        {
            for (var i = 0; i < order; i++)
            {
                var sign = factor[(a * order) + i] * scale;
                for (var b = 0; b < power; b++) room[(a * power) + b] += sign * row[(i * power) + b];
            }
        }

        room[..row.Length].CopyTo(row);
    }

    private static void WalshHadamard(Span<double> x)
    {
        for (var half = 1; half < x.Length; half *= 2)
        {
            for (var i = 0; i < x.Length; i += 2 * half)
            {
                for (var j = i; j < i + half; j++) (x[j], x[j + half]) = (x[j] + x[j + half], x[j] - x[j + half]);
            }
        }
    }

    // 1 for squares modulo a prime, -1 for others, 0 for 0.
    private static int[] QuadraticCharacter(int prime)
    {
        var character = new int[prime];
        Array.Fill(character, -1);
        character[0] = 0;
        for (var i = 1; i < prime; i++) character[i * i % prime] = 1;
        return character;
    }

    // Of order prime + 1: zero diagonal, C C^T = prime * I; skew or symmetric as the prime is 3 or 1 modulo 4.
    private static int Conference(int[] character, int i, int j)
    {
        if (i == j) return 0;
        if (i == 0) return 1;
        return j == 0 ? (character.Length % 4 == 3 ? -1 : 1) : character[(i - j + character.Length) % character.Length];
    }

    private static int PaleySecond(int[] character, int i, int j)
    {
        if (i / 2 == j / 2) return i % 2 == 0 && j % 2 == 0 ? 1 : -1;
        return (i % 2 == 1 && j % 2 == 1 ? -1 : 1) * Conference(character, i / 2, j / 2);
    }

    private static int Williamson(int i, int j)
    {
        var (row, column) = (i / WilliamsonPrime, j / WilliamsonPrime);
        var difference = (i - j + (4 * WilliamsonPrime)) % WilliamsonPrime;
        var sign = WilliamsonBlockSigns[row][column];
        if (difference == 0) return sign;
        var logarithm = 0;
        for (var power = 1; power != difference; power = power * 3 % WilliamsonPrime) logarithm++;
        return sign * WilliamsonSigns[WilliamsonBlocks[row][column]][logarithm % 7];
    }
}
