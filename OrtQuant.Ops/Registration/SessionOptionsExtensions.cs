using System.Globalization;
using System.Runtime.CompilerServices;
using Microsoft.ML.OnnxRuntime;

namespace OrtQuant;

/// <summary>Makes the custom ops of domain <c>ortquant</c> known to ONNX Runtime.</summary>
public static class SessionOptionsExtensions
{
    /// <summary>Where kernels read how many threads the session has; ONNX Runtime does not tell them.</summary>
    private const string ThreadsEntry = "ortquant.intra_op_threads";

    /// <summary>Where the registration reads whether CUDA kernels are wanted.</summary>
    private const string CudaEntry = "ortquant.cuda";

    /// <summary>Thread counts already entered: ONNX Runtime warns of an entry that is set again.</summary>
    private static readonly ConditionalWeakTable<SessionOptions, StrongBox<int>> EnteredThreads = [];

    /// <summary>Choices of CUDA already entered: 1 with, 2 without.</summary>
    private static readonly ConditionalWeakTable<SessionOptions, StrongBox<int>> EnteredCuda = [];

    /// <summary>
    /// Registers the ops with these options. Sessions created with them then run the native kernels; without it a rewritten model
    /// runs the function bodies it carries.
    /// </summary>
    /// <remarks>
    /// May be called any number of times, on options of any number of sessions, and after
    /// <see cref="SessionOptions.RegisterCustomOpLibrary(string)"/> with <see cref="OrtQuantRuntime.LibraryPath"/>. Set
    /// <see cref="SessionOptions.IntraOpNumThreads"/> before: kernels cut their work for that many threads. ONNX Runtime opens the
    /// library itself and calls it with its own API, so that it does not matter which ONNX Runtime of a process the options are of.
    /// </remarks>
    /// <param name="options">The options; an earlier registration of the ops is kept.</param>
    /// <returns>The same options.</returns>
    /// <exception cref="OrtQuantException">The native library was not found (the message lists the places tried), could not be
    /// loaded, or is of another release.</exception>
    /// <exception cref="OnnxRuntimeException">ONNX Runtime is older than 1.24.</exception>
    public static SessionOptions RegisterOrtQuant(this SessionOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        var threads = options.IntraOpNumThreads;
        var entered = EnteredThreads.GetOrCreateValue(options);
        if (threads > 0 && threads != entered.Value)
        {
            options.AddSessionConfigEntry(ThreadsEntry, threads.ToString(CultureInfo.InvariantCulture));
            entered.Value = threads;
        }

        options.RegisterCustomOpLibrary(OrtQuantRuntime.LibraryPath);
        return options;
    }

    /// <summary>
    /// Registers the ops and says whether nodes on ONNX Runtime's CUDA provider are to run on OrtQuant's CUDA kernels. The CUDA provider
    /// itself is the application's: <see cref="SessionOptions.AppendExecutionProvider_CUDA(int)"/>.
    /// </summary>
    /// <remarks>
    /// Without this choice the CUDA kernels are there where <c>libortquant_cuda.so</c> lies beside the native library. Sessions without the CUDA provider
    /// do not notice them.
    /// </remarks>
    /// <param name="options">The options, not registered yet; options that have the ops keep what they have.</param>
    /// <param name="cuda">true: with CUDA kernels, and an error where they cannot be had. false: without.</param>
    /// <returns>The same options.</returns>
    /// <exception cref="OrtQuantException">As for <see cref="RegisterOrtQuant(SessionOptions)"/>; or <paramref name="cuda"/> is true and there is no
    /// <c>libortquant_cuda.so</c>, no CUDA device of compute capability 8.0 or newer, or the options have the ops without CUDA already. The
    /// message says which.</exception>
    public static SessionOptions RegisterOrtQuant(this SessionOptions options, bool cuda)
    {
        ArgumentNullException.ThrowIfNull(options);
        var wanted = cuda ? 1 : 2;
        var entered = EnteredCuda.GetOrCreateValue(options);
        if (entered.Value != wanted)
        {
            options.AddSessionConfigEntry(CudaEntry, cuda ? "1" : "0");
            entered.Value = wanted;
        }

        try
        {
            return options.RegisterOrtQuant();
        }
        catch (OnnxRuntimeException error) when (cuda)
        {
            throw new OrtQuantException($"OrtQuant cannot be registered with CUDA: {error.Message}", error);
        }
    }
}
