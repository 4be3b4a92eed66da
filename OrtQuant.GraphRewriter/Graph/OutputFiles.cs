using System.Diagnostics;
using System.Globalization;

namespace OrtQuant.GraphRewriter.Graph;

/// <summary>
/// Files that appear whole or not at all: written under a temporary name in the folder of the output, flushed to the disk, then renamed.
/// </summary>
internal static class OutputFiles
{
    private const string Prefix = ".ortquant-";
    private const string Suffix = ".tmp";

    /// <summary>A temporary name beside a file, which tells whose it is.</summary>
    internal static string TemporaryFor(string path) =>
        Path.Combine(
            Path.GetDirectoryName(Path.GetFullPath(path))!,
            $"{Prefix}{Environment.ProcessId}-{Guid.NewGuid():N}{Suffix}");

    /// <summary>Deletes what processes that ended without cleaning up left in a folder.</summary>
    internal static void RemoveStale(string folder)
    {
        foreach (var path in Directory.EnumerateFiles(folder, $"{Prefix}*{Suffix}"))
        {
            var owner = Path.GetFileName(path)[Prefix.Length..].Split('-')[0];
            if (int.TryParse(owner, NumberStyles.None, CultureInfo.InvariantCulture, out var process) && !IsRunning(process)) TryDelete(path);
        }
    }

    /// <summary>Writes a small file whole.</summary>
    internal static void Write(string path, ReadOnlySpan<byte> content)
    {
        var temporary = TemporaryFor(path);
        try
        {
            using (var stream = new FileStream(temporary, FileMode.CreateNew, FileAccess.Write))
            {
                stream.Write(content);
                stream.Flush(flushToDisk: true);
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            TryDelete(temporary);
            throw;
        }
    }

    internal static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // A leftover costs space, not correctness, and the next start tries again.
        }
    }

    private static bool IsRunning(int process)
    {
        try
        {
            using var found = Process.GetProcessById(process);
            return !found.HasExited;
        }
        catch (ArgumentException)
        {
            return false;
        }
    }
}
