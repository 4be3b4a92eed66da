using System.ComponentModel;
using System.Diagnostics;

namespace OrtQuant.Tests.Support;

/// <summary>What a process left behind.</summary>
/// <param name="ExitCode">Its exit code; 128 + n when signal n ended it.</param>
/// <param name="Output">Standard output.</param>
/// <param name="Error">Standard error.</param>
internal sealed record ProcessResult(int ExitCode, string Output, string Error)
{
    /// <summary>Fails the test with both streams unless the process exited with 0.</summary>
    public ProcessResult ShouldSucceed()
    {
        Assert.AreEqual(0, ExitCode, $"{Output}\n{Error}");
        return this;
    }
}

/// <summary>Runs programs as a user would, with a time limit.</summary>
internal static class ProcessRunner
{
    /// <summary>Runs a program to its end.</summary>
    /// <param name="program">A path, or a name to be found on PATH.</param>
    /// <param name="arguments">Its arguments, one each.</param>
    /// <param name="workingDirectory">Where it runs; the current folder by default.</param>
    /// <param name="environment">Variables to set, or with null to remove.</param>
    /// <param name="timeout">When it is killed, with its children, and the test fails; ten minutes by default.</param>
    public static ProcessResult Run(
        string program,
        IEnumerable<string> arguments,
        string? workingDirectory = null,
        IReadOnlyDictionary<string, string?>? environment = null,
        TimeSpan? timeout = null)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            WorkingDirectory = workingDirectory ?? "",
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var (name, value) in environment ?? new Dictionary<string, string?>())
        {
            start.Environment[name] = value;
        }

        using var process = Process.Start(start) ?? throw new Win32Exception($"'{program}' did not start.");
        process.StandardInput.Close();
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        if (!process.WaitForExit(timeout ?? TimeSpan.FromMinutes(10)))
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail($"'{program} {string.Join(' ', arguments)}' did not end in time.\n{output.Result}\n{error.Result}");
        }

        return new ProcessResult(process.ExitCode, output.Result, error.Result);
    }
}
