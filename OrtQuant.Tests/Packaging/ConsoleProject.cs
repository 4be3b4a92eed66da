using System.Reflection;
using OrtQuant.Tests.Support;

namespace OrtQuant.Tests.Packaging;

/// <summary>An empty console project outside the repository, as a user would start one.</summary>
internal static class ConsoleProject
{
    /// <summary>What this build of the tests was told of itself (OrtQuant.Tests.csproj).</summary>
    public static string Metadata(string key) =>
        typeof(ConsoleProject).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == key).Value!;

    /// <summary>Writes the project and builds it. Its packages are restored into a folder of its own.</summary>
    /// <param name="folder">Where it is written.</param>
    /// <param name="program">Program.cs.</param>
    /// <param name="packages">Ids and versions; they come from the machine's NuGet sources and the local feed ...</param>
    /// <param name="feed">... and, if given, from this folder.</param>
    /// <returns>What the build printed; the caller judges it.</returns>
    public static ProcessResult Build(string folder, string program, IEnumerable<(string Id, string Version)> packages, string feed = "")
    {
        Directory.CreateDirectory(folder);
        var references = packages.Select(p => $"""<PackageReference Include="{p.Id}" Version="{p.Version}" />""");
        File.WriteAllText(Path.Combine(folder, "app.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
                <RestoreAdditionalProjectSources>{feed};{Metadata("AdditionalSources")}</RestoreAdditionalProjectSources>
                <RestorePackagesPath>{folder}/packages</RestorePackagesPath>
              </PropertyGroup>
              <ItemGroup>
                {string.Join('\n', references)}
              </ItemGroup>
            </Project>
            """);
        File.WriteAllText(Path.Combine(folder, "Program.cs"), program);
        return ProcessRunner.Run("dotnet", ["build", "-c", "Release", "-o", $"{folder}/out", "-nodeReuse:false"], folder);
    }

    /// <summary>Runs the project that <see cref="Build"/> built.</summary>
    public static ProcessResult Run(string folder, params string[] arguments) =>
        ProcessRunner.Run("dotnet", [$"{folder}/out/app.dll", .. arguments], folder);
}
