using OrtQuant.Schemes;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Schemes;

/// <summary>The golden files are what the independent scripts beside them write: nobody has edited one to please an encoder.</summary>
[TestClass]
public sealed class GoldenScriptTests
{
    public static IEnumerable<object[]> Schemes => SchemeCatalog.All.Select(scheme => new object[] { scheme });

    [TestMethod]
    [DynamicData(nameof(Schemes))]
    public void TheScriptWritesTheGoldenFiles(IWeightScheme scheme)
    {
        var golden = Path.Combine(GoldenExample.FolderOf(scheme), "golden");
        using var folder = new TemporaryFolder();
        ProcessRunner.Run(PythonWithNumpy(), [Path.Combine(golden, "make_golden.py"), folder.Path]).ShouldSucceed();

        CollectionAssert.AreEqual(Names(golden), Names(folder.Path));
        foreach (var name in Names(golden))
        {
            Assert.AreEqual(File.ReadAllText(Path.Combine(folder.Path, name!)), File.ReadAllText(Path.Combine(golden, name!)), name);
        }
    }

    private static string PythonWithNumpy()
    {
        foreach (var python in (string[])["python3", "/usr/bin/python3"])
        {
            try
            {
                if (ProcessRunner.Run(python, ["-c", "import numpy"]).ExitCode == 0)
                {
                    return python;
                }
            }
            catch (System.ComponentModel.Win32Exception)
            {
                // There is no such program.
            }
        }

        Assert.Inconclusive("The script needs Python with numpy, and there is none.");
        return "";
    }

    private static List<string?> Names(string folder) =>
        [.. Directory.EnumerateFiles(folder, "*.golden").Select(Path.GetFileName).Order(StringComparer.Ordinal)];
}
