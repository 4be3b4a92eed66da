using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.ML.OnnxRuntime;

namespace OrtQuant.Tests.Registration;

/// <summary>The native library is found, registers any number of times, and says what it is.</summary>
[TestClass]
public sealed class RegistrationTests
{
    [TestMethod]
    public void RegistersAnyNumberOfTimes()
    {
        using var options = new SessionOptions { IntraOpNumThreads = 2 };

        Assert.AreSame(options, options.RegisterOrtQuant().RegisterOrtQuant());
        options.RegisterCustomOpLibrary(OrtQuantRuntime.LibraryPath);

        using var session = new InferenceSession(OneNodeModel.Gather(), options);
        CollectionAssert.AreEqual(new[] { "indices" }, session.InputNames.ToArray());
    }

    [TestMethod]
    public void PlainRegistrationByPathWorks()
    {
        using var options = new SessionOptions();
        options.RegisterCustomOpLibrary(OrtQuantRuntime.LibraryPath);
        options.RegisterOrtQuant();

        using var session = new InferenceSession(OneNodeModel.Gather(), options);
    }

    [TestMethod]
    public void WithoutCudaIsRegisteredAnywhere()
    {
        using var options = new SessionOptions();

        Assert.AreSame(options, options.RegisterOrtQuant(cuda: false).RegisterOrtQuant(cuda: false));

        using var session = new InferenceSession(OneNodeModel.Gather(), options);
    }

    [TestMethod]
    public void CudaThatIsNotThereIsAnErrorThatSaysSo()
    {
        using var options = new SessionOptions();
        try
        {
            options.RegisterOrtQuant(cuda: true);
        }
        catch (OrtQuantException error)
        {
            StringAssert.Matches(error.Message, new Regex("libortquant_cuda.so\\) cannot be loaded|no CUDA device"));
            return;
        }

        Assert.Inconclusive("this machine has a GPU and the CUDA library");
    }

    [TestMethod]
    public void CudaAfterARegistrationWithoutItIsAnError()
    {
        using var options = new SessionOptions();
        options.RegisterOrtQuant(cuda: false);

        Assert.Throws<OrtQuantException>(() => options.RegisterOrtQuant(cuda: true));
    }

    [TestMethod]
    public void ModelsWithoutFunctionBodiesNeedTheLibrary()
    {
        Assert.Throws<OnnxRuntimeException>(() => new InferenceSession(OneNodeModel.Gather()).Dispose());
    }

    [TestMethod]
    public void TheThreadHintIsWhatTheOptionsSay()
    {
        using var options = new SessionOptions { IntraOpNumThreads = 3 };
        options.RegisterOrtQuant();
        options.AddSessionConfigEntry("ortquant.intra_op_threads", "three");

        var error = Assert.Throws<OnnxRuntimeException>(() => new InferenceSession(OneNodeModel.Gather(), options).Dispose());
        Assert.Contains("'ortquant.intra_op_threads' is 'three'", error.Message);
    }

    [TestMethod]
    public void SessionsInParallelAgree()
    {
        var model = OneNodeModel.Gather();
        var results = new float[8][];

        Parallel.For(0, results.Length, i =>
        {
            using var options = new SessionOptions();
            using var session = new InferenceSession(model, options.RegisterOrtQuant());
            using var indices = OrtValue.CreateTensorValueFromMemory(new long[] { 3, 0, 15 }, [3]);
            using var run = new RunOptions();
            using var outputs = session.Run(run, ["indices"], [indices], ["Y"]);
            results[i] = outputs[0].GetTensorDataAsSpan<float>().ToArray();
        });

        foreach (var result in results)
        {
            CollectionAssert.AreEqual(OneNodeModel.Rows(3, 0, 15), result);
        }
    }

    [TestMethod]
    public void AMissingLibraryIsReportedWithThePlacesTried()
    {
        var error = Assert.Throws<OrtQuantException>(() => NativeLibraryFile.Load(["/nowhere/a", "/nowhere/b"]));

        Assert.Contains(NativeLibraryFile.FileName, error.Message);
        Assert.Contains("/nowhere/a, /nowhere/b", error.Message);
    }

    [TestMethod]
    public void AFileThatIsNoLibraryIsReported()
    {
        using var folder = new Support.TemporaryFolder();
        File.WriteAllText(folder.File(NativeLibraryFile.FileName), "text");

        var error = Assert.Throws<OrtQuantException>(() => NativeLibraryFile.Load([folder.Path]));
        Assert.Contains("could not be loaded", error.Message);
    }

    [TestMethod]
    public void AnotherLibraryOfThatNameIsReported()
    {
        using var folder = new Support.TemporaryFolder();
        var other = Directory.GetFiles(AppContext.BaseDirectory, "libortextensions.so", SearchOption.AllDirectories)[0];
        File.Copy(other, folder.File(NativeLibraryFile.FileName));

        var error = Assert.Throws<OrtQuantException>(() => NativeLibraryFile.Load([folder.Path]));
        Assert.Contains("is not OrtQuant's native library", error.Message);
    }

    [TestMethod]
    public void TheLibraryLiesInARuntimeFolder()
    {
        Assert.IsTrue(File.Exists(OrtQuantRuntime.LibraryPath), OrtQuantRuntime.LibraryPath);
        Assert.IsTrue(Path.IsPathFullyQualified(OrtQuantRuntime.LibraryPath));
        Assert.IsNotEmpty(NativeLibraryFile.SearchFolders());
    }

    [TestMethod]
    public void VersionsOfBothHalvesAgree()
    {
        var assembly = typeof(OrtQuantRuntime).Assembly.GetName().Version!;

        Assert.AreEqual($"{assembly.Major}.{assembly.Minor}.{assembly.Build}", OrtQuantRuntime.Version);
    }

    [TestMethod]
    [DoNotParallelize]
    public void InstructionSetsCanBeForced()
    {
        var automatic = OrtQuantRuntime.Isa;
        try
        {
            foreach (var isa in OrtQuantRuntime.AvailableIsas)
            {
                OrtQuantRuntime.ForceIsa(isa);
                Assert.AreEqual(isa, OrtQuantRuntime.Isa);
            }

            var error = Assert.Throws<OrtQuantException>(() => OrtQuantRuntime.ForceIsa("sse9"));
            Assert.Contains("unknown instruction set 'sse9'", error.Message);
            Assert.Contains("reference", error.Message);
        }
        finally
        {
            OrtQuantRuntime.ForceIsa(null);
        }

        Assert.AreEqual(automatic, OrtQuantRuntime.Isa);
        Assert.AreEqual("reference", OrtQuantRuntime.AvailableIsas[^1]);
    }

    [TestMethod]
    public void TheRooflineIsPositiveAndItsThreadsAreChecked()
    {
        var roofline = OrtQuantRuntime.MeasurePeaks(1);

        Assert.IsGreaterThan(0.1, roofline.ReadGbs);
        Assert.IsGreaterThan(0.1, roofline.Int8Gops);
        Assert.IsGreaterThan(0.1, roofline.Fp32Gflops);
        var error = Assert.Throws<OrtQuantException>(() => OrtQuantRuntime.MeasurePeaks(0));
        Assert.Contains("threads is 0; permitted: 1 to", error.Message);
    }

    [TestMethod]
    public void TheDescriptionNamesItsDomain()
    {
        using var description = JsonDocument.Parse(OrtQuantRuntime.Describe());

        Assert.AreEqual("ortquant", description.RootElement.GetProperty("domain").GetString());
    }
}
