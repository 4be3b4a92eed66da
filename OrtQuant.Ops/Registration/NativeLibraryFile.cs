using System.Reflection;
using System.Runtime.InteropServices;

namespace OrtQuant;

/// <summary>
/// The native library on disk. ONNX Runtime opens it by its path, and the dynamic loader knows nothing of .NET's runtime folders,
/// so it is looked for here. Once loaded it stays: kernels of live sessions are code in it.
/// </summary>
internal sealed class NativeLibraryFile
{
    private static readonly Lazy<NativeLibraryFile> Instance = new(
        () => Load(SearchFolders()), LazyThreadSafetyMode.ExecutionAndPublication);

    private NativeLibraryFile(string path, nint handle) => (Path, Handle) = (path, handle);

    /// <summary>The library, found and loaded the first time.</summary>
    /// <exception cref="OrtQuantException">It is nowhere, cannot be loaded, or is not the one this assembly was made for.</exception>
    public static NativeLibraryFile Loaded => Instance.Value;

    /// <summary>Full path.</summary>
    public string Path { get; }

    /// <summary>Handle of the loaded library.</summary>
    public nint Handle { get; }

    /// <summary><c>libortquant.so</c>, <c>libortquant.dylib</c> or <c>ortquant.dll</c>.</summary>
    public static string FileName { get; } =
        OperatingSystem.IsWindows() ? "ortquant.dll" : OperatingSystem.IsMacOS() ? "libortquant.dylib" : "libortquant.so";

    /// <summary>For example <c>linux-x64</c>: the folder under <c>runtimes</c> in a package and in a build's output.</summary>
    private static string PortableRuntime
    {
        get
        {
            var system = OperatingSystem.IsWindows() ? "win" : OperatingSystem.IsMacOS() ? "osx" : "linux";
            return $"{system}-{RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()}";
        }
    }

    /// <summary>Loads the library from the first of <paramref name="folders"/> that has it.</summary>
    internal static NativeLibraryFile Load(IReadOnlyCollection<string> folders)
    {
        var path = folders.Select(folder => System.IO.Path.Combine(folder, FileName)).FirstOrDefault(File.Exists)
            ?? throw new OrtQuantException(
                $"The native library {FileName} of OrtQuant for {PortableRuntime} was not found. Looked in: {string.Join(", ", folders)}");
        nint handle;
        try
        {
            handle = NativeLibrary.Load(path);
        }
        catch (Exception error) when (error is DllNotFoundException or BadImageFormatException)
        {
            throw new OrtQuantException($"The native library '{path}' could not be loaded: {error.Message}", error);
        }

        CheckAbi(path, handle);
        return new NativeLibraryFile(path, handle);
    }

    /// <summary>Where the library can be, without duplicates, in the order of search.</summary>
    internal static IReadOnlyCollection<string> SearchFolders()
    {
        // The host's own folders come first: those of packages in deps.json, and where a single-file application was extracted.
        var host = AppContext.GetData("NATIVE_DLL_SEARCH_DIRECTORIES") as string ?? "";
        var folders = new List<string>(host.Split(System.IO.Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)) { AppContext.BaseDirectory };
        // Empty in a single-file application.
        if (System.IO.Path.GetDirectoryName(AssemblyPath()) is { Length: > 0 } assemblyFolder)
        {
            folders.Add(assemblyFolder);
        }

        return folders
            .SelectMany(folder => new[] { folder, System.IO.Path.Combine(folder, "runtimes", PortableRuntime, "native") })
            .Select(System.IO.Path.GetFullPath)
            .Select(System.IO.Path.TrimEndingDirectorySeparator)
            .Distinct(StringComparer.Ordinal)
            .ToArray();
    }

    [System.Diagnostics.CodeAnalysis.UnconditionalSuppressMessage(
        "SingleFile", "IL3000", Justification = "An empty path is one of the cases.")]
    private static string AssemblyPath() => Assembly.GetExecutingAssembly().Location;

    private static unsafe void CheckAbi(string path, nint handle)
    {
        if (!NativeLibrary.TryGetExport(handle, "ortq_abi_version", out var export))
        {
            throw new OrtQuantException($"'{path}' is not OrtQuant's native library: it does not export ortq_abi_version.");
        }

        var version = ((delegate* unmanaged<int>)export)();
        if (version != NativeMethods.AbiVersion)
        {
            throw new OrtQuantException(
                $"The native library '{path}' has ABI version {version}; this OrtQuant.Ops needs {NativeMethods.AbiVersion}. Use both from the same release.");
        }
    }
}
