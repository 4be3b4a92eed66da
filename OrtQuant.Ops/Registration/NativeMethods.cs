using System.Reflection;
using System.Runtime.InteropServices;

namespace OrtQuant;

/// <summary>
/// The C ABI of the native library, in the order of <c>ortquant.h</c>. The only P/Invoke file; nothing else knows the names.
/// </summary>
internal static unsafe partial class NativeMethods
{
    /// <summary>The <c>ORTQ_ABI_VERSION</c> that these declarations mirror.</summary>
    public const int AbiVersion = 1;

    private const string Library = "ortquant";

    /// <summary>Every import goes to the library that <see cref="NativeLibraryFile"/> found.</summary>
    static NativeMethods() => NativeLibrary.SetDllImportResolver(typeof(NativeMethods).Assembly, Resolve);

    /// <summary>An attribute of a node; <c>ortq_attribute</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Attribute
    {
        public byte* Name;
        public int Kind;
        public long Int;
        public byte* Text;
    }

    /// <summary>A tensor; <c>ortq_tensor</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Tensor
    {
        public int Type;
        public int Rank;
        public long* Shape;
        public void* Data;
    }

    [LibraryImport(Library, EntryPoint = "ortq_abi_version")]
    public static partial int GetAbiVersion();

    [LibraryImport(Library, EntryPoint = "ortq_version")]
    public static partial byte* GetVersion();

    [LibraryImport(Library, EntryPoint = "ortq_last_error")]
    public static partial byte* GetLastError();

    [LibraryImport(Library, EntryPoint = "ortq_describe")]
    public static partial byte* Describe();

    [LibraryImport(Library, EntryPoint = "ortq_set_isa", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int SetIsa(string? name);

    [LibraryImport(Library, EntryPoint = "ortq_active_isa")]
    public static partial byte* GetActiveIsa();

    [LibraryImport(Library, EntryPoint = "ortq_unpack", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Unpack(
        string op, Attribute* attributes, int attributeCount, Tensor* inputs, int inputCount, float* weights, long count);

    [LibraryImport(Library, EntryPoint = "ortq_run", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Run(
        string op, Attribute* attributes, int attributeCount, Tensor* inputs, int inputCount, Tensor* output, int threads);

    [LibraryImport(Library, EntryPoint = "ortq_roofline")]
    public static partial int MeasureRoofline(int threads, out double readGbs, out double int8Gops, out double fp32Gflops);

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? searchPath) =>
        name == Library ? NativeLibraryFile.Loaded.Handle : 0;
}
