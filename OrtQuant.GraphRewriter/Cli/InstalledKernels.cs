namespace OrtQuant.GraphRewriter.Cli;

/// <summary>The kernels of the native library on this machine.</summary>
/// <param name="Supported">Instruction sets, best first; empty without a library.</param>
/// <param name="Active">The one in use; null without a library.</param>
/// <param name="Problem">Why there are none, or null.</param>
internal sealed record InstalledKernels(IReadOnlyList<string> Supported, string? Active, string? Problem)
{
    /// <summary>Asks the library.</summary>
    public static InstalledKernels Find()
    {
        try
        {
            return new InstalledKernels(OrtQuantRuntime.AvailableIsas, OrtQuantRuntime.Isa, null);
        }
        catch (OrtQuantException exception)
        {
            return new InstalledKernels([], null, exception.Message);
        }
    }
}
