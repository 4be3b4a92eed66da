using OrtQuant.GraphRewriter.Planning.Allocation;

namespace OrtQuant.Tests.Planning;

[TestClass]
public sealed class BudgetSolverTests
{
    [TestMethod]
    public void EqualsExhaustiveSearchAtEveryBudget()
    {
        var random = new Random(1);
        for (var instance = 0; instance < 40; instance++)
        {
            var units = Instance(random, units: 1 + random.Next(5), options: 1 + random.Next(4));
            var all = Combinations(units);
            var solver = new BudgetSolver(units);
            Assert.AreEqual(all.Min(sum => sum.Bytes), solver.LeastBytes);
            for (var budget = all.Min(sum => sum.Bytes) - 1; budget <= all.Max(sum => sum.Bytes) + 1; budget++)
            {
                var choice = solver.Choose(budget);
                var fitting = all.Where(sum => sum.Bytes <= budget).ToArray();
                if (fitting.Length == 0)
                {
                    Assert.IsNull(choice);
                    continue;
                }

                var (bytes, loss) = Sum(units, choice!);
                Assert.IsLessThanOrEqualTo(budget, bytes);
                Assert.AreEqual(fitting.Min(sum => sum.Loss), loss, 1e-9);
            }
        }
    }

    [TestMethod]
    public void ManyUnitsStayWithinTheBudgetAndGainWithIt()
    {
        // Losses fall as 4^-bits, as those of weights do; sizes and sensitivities differ by factors.
        var random = new Random(2);
        var units = Enumerable.Range(0, 120).Select(_ =>
        {
            var (size, sensitivity) = (1000 + random.Next(30000), Math.Exp(3 * random.NextDouble()));
            return (IReadOnlyList<AllocationOption>)[.. new[] { 2.5, 2.6, 3.6, 4.3, 4.6, 5.2, 8.1, 8.5 }.Select(bits =>
                new AllocationOption((long)(bits * size), sensitivity * Math.Pow(4, -bits)))];
        }).ToArray();
        var solver = new BudgetSolver(units);
        var again = new BudgetSolver(units);
        var most = units.Sum(options => options.Max(option => option.Bytes));
        var before = double.PositiveInfinity;
        for (var share = 0; share <= 100; share++)
        {
            var budget = solver.LeastBytes + (most - solver.LeastBytes) * share / 100;
            var choice = solver.Choose(budget)!;
            CollectionAssert.AreEqual(choice, again.Choose(budget));
            var (bytes, loss) = Sum(units, choice);
            Assert.IsLessThanOrEqualTo(budget, bytes);
            Assert.IsLessThanOrEqualTo(before, loss);
            before = loss;

            // No choice can be below the Lagrangian bound.
            if (budget < most) Assert.IsLessThanOrEqualTo(1.02 * LowerBound(units, budget) + 1e-4 * units.Length, loss, $"{share} %");
        }
    }

    [TestMethod]
    public void NoUnitsNeedNothing() => Assert.HasCount(0, new BudgetSolver([]).Choose(0)!);

    /// <summary>The largest of min(loss + price * bytes) - price * budget over prices: weak duality.</summary>
    private static double LowerBound(IReadOnlyList<AllocationOption>[] units, long budget) => Enumerable.Range(-120, 240)
        .Select(i => Math.Exp(i / 8.0) * 1e-6)
        .Max(price => units.Sum(options => options.Min(option => option.Loss + price * option.Bytes)) - price * budget);

    private static AllocationOption[][] Instance(Random random, int units, int options) =>
        [.. Enumerable.Range(0, units).Select(_ => Enumerable.Range(0, options).Select(_ => new AllocationOption(1 + random.Next(12), random.Next(20))).ToArray())];

    private static (long Bytes, double Loss)[] Combinations(IEnumerable<IReadOnlyList<AllocationOption>> units) =>
        units.Aggregate(new[] { (Bytes: 0L, Loss: 0.0) }, (sums, options) => [.. sums.SelectMany(sum => options.Select(option => (sum.Bytes + option.Bytes, sum.Loss + option.Loss)))]);

    private static (long Bytes, double Loss) Sum(IReadOnlyList<AllocationOption>[] units, int[] choice) =>
        (choice.Select((option, unit) => units[unit][option].Bytes).Sum(), choice.Select((option, unit) => units[unit][option].Loss).Sum());
}
