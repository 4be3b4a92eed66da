using Microsoft.ML.OnnxRuntime;

namespace OrtQuant.Tests.SetUp;

/// <summary>The packages that restore found are the ones the project is written for.</summary>
[TestClass]
public sealed class PackageTests
{
    [TestMethod]
    public void OnnxRuntimeHasTheTestedVersion()
    {
        var version = OrtEnv.Instance().GetVersionString();

        Assert.StartsWith("1.29.", version);
        CollectionAssert.Contains(OrtEnv.Instance().GetAvailableProviders(), "CPUExecutionProvider");
    }

    [TestMethod]
    public void OnnxRuntimeExtensionsRegister()
    {
        using var options = new SessionOptions();

        options.RegisterOrtExtensions();
    }
}
