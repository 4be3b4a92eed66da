using System.Runtime.InteropServices;
using System.Text.Json;

namespace OrtQuant;

/// <summary>The native library: what it is, which instruction set its kernels use, and what the machine can do at most.</summary>
public static unsafe class OrtQuantRuntime
{
    /// <summary>
    /// Full path of the native library, for what takes a custom-op library by its path: onnxruntime-genai
    /// (<c>custom_ops_library</c>), Python, C++, or <c>SessionOptions.RegisterCustomOpLibrary</c>.
    /// </summary>
    /// <exception cref="OrtQuantException">The library is not where it should be; the message lists the places tried.</exception>
    public static string LibraryPath => NativeLibraryFile.Loaded.Path;

    /// <summary>Version of the native library, <c>major.minor.patch</c>.</summary>
    /// <exception cref="OrtQuantException">The library cannot be loaded.</exception>
    public static string Version => Text(NativeMethods.GetVersion());

    /// <summary>
    /// The instruction set of kernels created now: <c>avx512</c>, <c>avx2</c> or <c>reference</c>. A session created earlier, or one
    /// with the configuration entry <c>ortquant.force_isa</c>, may run on another.
    /// </summary>
    /// <exception cref="OrtQuantException">The environment variable <c>ORTQUANT_FORCE_ISA</c> names one that this machine lacks.</exception>
    public static string Isa
    {
        get
        {
            var name = NativeMethods.GetActiveIsa();
            return name is null ? throw LastError() : Text(name);
        }
    }

    /// <summary>The instruction sets that can be used on this machine, best first.</summary>
    /// <exception cref="OrtQuantException">The library cannot be loaded.</exception>
    public static IReadOnlyList<string> AvailableIsas
    {
        get
        {
            using var description = JsonDocument.Parse(Describe());
            return [.. description.RootElement.GetProperty("isas").EnumerateArray()
                .Where(isa => isa.GetProperty("available").GetBoolean())
                .Select(isa => isa.GetProperty("name").GetString()!)];
        }
    }

    /// <summary>Forces the instruction set of all kernels created from now on in this process.</summary>
    /// <param name="isa">One of <see cref="AvailableIsas"/>; <see langword="null"/> goes back to the automatic choice.</param>
    /// <exception cref="OrtQuantException">There is no such instruction set here; the message lists those there are.</exception>
    public static void ForceIsa(string? isa) => ThrowOnError(NativeMethods.SetIsa(isa));

    /// <summary>
    /// The library's description of itself as a JSON object: <c>version</c>, <c>abi_version</c>, <c>domain</c>, <c>isas</c>,
    /// <c>active_isa</c>, and <c>schemes</c> with the inputs, outputs and attributes of every op (see <c>ortquant.h</c>).
    /// </summary>
    /// <exception cref="OrtQuantException">The library cannot be loaded.</exception>
    public static string Describe()
    {
        var json = NativeMethods.Describe();
        return json is null ? throw LastError() : Text(json);
    }

    /// <summary>Measures for about a second what this machine can do at most with the active instruction set.</summary>
    /// <param name="threads">How many threads measure at the same time; at least 1.</param>
    /// <exception cref="OrtQuantException"><paramref name="threads"/> is out of range.</exception>
    public static MachinePeaks MeasurePeaks(int threads)
    {
        ThrowOnError(NativeMethods.MeasureRoofline(threads, out var readGbs, out var int8Gops, out var fp32Gflops));
        return new MachinePeaks(readGbs, int8Gops, fp32Gflops);
    }

    /// <summary>Throws what the library says is wrong unless <paramref name="code"/> is 0.</summary>
    internal static void ThrowOnError(int code)
    {
        if (code != 0)
        {
            throw LastError();
        }
    }

    private static OrtQuantException LastError() => new(Text(NativeMethods.GetLastError()));

    private static string Text(byte* utf8) => Marshal.PtrToStringUTF8((nint)utf8)!;
}
