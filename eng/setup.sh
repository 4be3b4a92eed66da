#!/usr/bin/env bash
# Gets what the build needs from outside and remembers it in a cache folder outside the repository
# ($ORTQUANT_CACHE, default ~/.cache/ortquant). Safe to run at any time and by several builds at once.
#
#   eng/setup.sh packages      NuGet packages: decides whether the NuGet source serves ONNX Runtime; where it does not,
#                              fills a local feed with packages of the same ids and versions, made from npm packages
#   eng/setup.sh genai         the same for onnxruntime-genai, which only its tests need
#   eng/setup.sh include-dir   "packages", then prints the folder of ONNX Runtime's C headers
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ORT=$(version OnnxRuntimeVersion)
EXTENSIONS=$(version OnnxRuntimeExtensionsVersion)
GENAI=$(version OnnxRuntimeGenAIVersion)
MSTEST=$(version MSTestVersion)
ONNXSHARP=$(version OnnxSharpVersion)

# Directory.Build.props imports this file; its name changes when what it stands for changes.
DECISION=$ORTQUANT_CACHE/packages-$ORT-$EXTENSIONS-$MSTEST.props
STAGE=$ORTQUANT_CACHE/ort-$ORT
FEED=$ORTQUANT_CACHE/feed
FEED_PACKAGES=$ORTQUANT_CACHE/packages

# fetch_npm NAME@VERSION MEGABYTES SHA256 DIRECTORY MEMBER...: unpacks members of an npm package, checked, into DIRECTORY.
fetch_npm() {
  local package=$1 megabytes=$2 sha256=$3 directory=$4 work=$ORTQUANT_CACHE/download received archive npm
  shift 4
  need npm:npm node:nodejs
  rm -rf "$work" && mkdir -p "$work/npm"
  step "downloading $package ($megabytes MB)"
  (cd "$work" && exec npm pack --silent --cache "$work/npm" "$package" >/dev/null) &
  npm=$!
  trap "kill $npm 2>/dev/null" EXIT # a background job does not hear Ctrl-C
  while kill -0 $npm 2>/dev/null; do
    sleep 0.5
    [ -t 2 ] || continue
    # npm keeps what it received in its cache before it writes the archive.
    received=$(du -sm "$work/npm" 2>/dev/null | cut -f1 || true)
    printf '\r    %3d of %d MB' "$((received < megabytes ? received : megabytes))" "$megabytes" >&2
  done
  [ ! -t 2 ] || printf '\r\033[K' >&2
  trap - EXIT
  wait $npm || fail "npm could not download $package"
  archive=$(echo "$work"/*.tgz)
  echo "$sha256  $archive" | sha256sum --check --status ||
    fail "$package: sha256 is $(sha256sum "$archive" | cut -d' ' -f1), expected $sha256"
  rm -rf "$directory" && mkdir -p "$directory"
  tar -xzf "$archive" -C "$directory" --strip-components=1 --no-same-owner "$@"
  rm -rf "$work"
}

# stage NAME NPM_PACKAGE MEGABYTES SHA256 [MEMBER...]: the package, arranged as eng/feed expects it: licence, notices, the
# Linux libraries in native/, headers in include/, and further members as they are. A finished one is never fetched again.
stage() {
  local folder=$STAGE/$1 headers
  [ ! -e "$folder/.complete" ] || return 0
  fetch_npm "$2" "$3" "$4" "$folder" package/LICENSE package/ThirdPartyNotices.txt package/Plugins/Linux/x64 "${@:5}"
  mv "$folder/LICENSE" "$folder/LICENSE.txt"
  mv "$folder/Plugins/Linux/x64" "$folder/native"
  chmod 644 "$folder"/native/*
  headers=$(find "$folder/Plugins" -type d -name Headers)
  [ -z "$headers" ] || mv "$headers" "$folder/include"
  rm -rf "$folder/Plugins"
  touch "$folder/.complete"
}

# pack ID VERSION: a package of the local feed from eng/feed/ID.nuspec, whose paths are relative to the stage.
pack() {
  step "packing $1 $2 into the local feed"
  rm -rf "$FEED_PACKAGES/${1,,}" # restored copies of an earlier one must not outlive it
  cp "$ORTQUANT_ROOT/eng/feed/$1.nuspec" "$STAGE/$1.nuspec"
  dotnet pack "$STAGE/$1.nuspec" --version "$2" -o "$FEED" >"$STAGE/pack.log" 2>&1 || { cat "$STAGE/pack.log" >&2; fail "could not pack $1"; }
}

# compile PROJECT ID VERSION: a package of the local feed with C# sources, from eng/feed/PROJECT.csproj.
compile() {
  step "compiling $2 $3 into the local feed"
  rm -rf "$FEED_PACKAGES/${2,,}"
  dotnet pack "$ORTQUANT_ROOT/eng/feed/$1.csproj" -p:Unpacked="$STAGE" -p:Work="$STAGE/build" -p:Version="$3" -o "$FEED" \
    -p:UseSharedCompilation=false -nodeReuse:false >"$STAGE/pack.log" 2>&1 || { cat "$STAGE/pack.log" >&2; fail "could not compile $2"; }
}

# fill_feed ID: puts a package, and what it depends on, into the local feed.
fill_feed() {
  mkdir -p "$FEED" "$STAGE"
  case $1 in
    Microsoft.ML.OnnxRuntime.Gpu)
      stage onnxruntime com.github.asus4.onnxruntime@0.4.9 143 e59788788818fdde1b2e522e766a21ba0f7d8391de55737abf81e32cc801785d \
        package/Runtime 'package/Plugins/iOS~/onnxruntime.xcframework/ios-arm64/onnxruntime.framework/Headers'
      compile Managed Microsoft.ML.OnnxRuntime.Managed "$ORT"
      pack Microsoft.ML.OnnxRuntime.Gpu.Linux "$ORT"
      pack Microsoft.ML.OnnxRuntime.Gpu "$ORT" ;;
    Microsoft.ML.OnnxRuntime.Extensions)
      stage extensions com.github.asus4.onnxruntime-extensions@0.4.9 25 013055b4988fd3b96422c5e916bfc318b1c9eebd8f94600d4018860da1a08b1b
      pack "$1" "$EXTENSIONS" ;;
    Microsoft.ML.OnnxRuntimeGenAI)
      stage genai com.github.asus4.onnxruntime-genai@0.4.9 96 80d03d6afe24dbf6bcde5bfcf424b26c9a2a4161a495e2dc71ac2e08288e7af4 \
        package/Runtime
      compile GenAI Microsoft.ML.OnnxRuntimeGenAI.Managed "$GENAI"
      pack "$1" "$GENAI" ;;
    MSTest) pack "$1" "$MSTEST" ;;
    *) fail "there is no stand-in for $1" ;;
  esac
}

# missing_packages ID:VERSION...: prints the ids that the NuGet source does not serve, found by restoring a project that
# names them.
missing_packages() {
  local probe=$ORTQUANT_CACHE/probe package
  rm -rf "$probe" && mkdir -p "$probe"
  echo '<Project />' | tee "$probe/Directory.Build.props" "$probe/Directory.Build.targets" "$probe/Directory.Packages.props" >/dev/null
  {
    echo '<Project Sdk="Microsoft.NET.Sdk">'
    echo "  <PropertyGroup><TargetFramework>net10.0</TargetFramework><RestorePackagesPath>$probe/packages</RestorePackagesPath></PropertyGroup>"
    for package in "$@"; do
      echo "  <ItemGroup><PackageReference Include=\"${package%:*}\" Version=\"[${package#*:}]\" /></ItemGroup>"
    done
    echo '</Project>'
  } >"$probe/probe.csproj"
  if ! dotnet restore "$probe/probe.csproj" >"$probe/log" 2>&1 && ! grep -qE 'NU110[1-3]' "$probe/log"; then
    cat "$probe/log" >&2
    fail "the NuGet source did not answer"
  fi
  grep -oE 'NU110[1-3]: [^.]*package [A-Za-z.]+' "$probe/log" | sed 's/.* //; s/\.$//' | sort -u || true
  rm -rf "$probe"
}

decide() {
  need_dotnet
  step "asking the NuGet source for ONNX Runtime $ORT"
  local missing id onnxsharp=true feed=false
  # The small managed package stands for the large ones of ONNX Runtime: they are published together.
  missing=$(missing_packages "Microsoft.ML.OnnxRuntime.Managed:$ORT" "Microsoft.ML.OnnxRuntime.Extensions:$EXTENSIONS" \
    "MSTest:$MSTEST" "OnnxSharp:$ONNXSHARP")
  for id in $missing; do
    if [ "$id" = OnnxSharp ]; then onnxsharp=false; continue; fi
    $feed || step "it does not serve everything: filling a local feed"
    feed=true
    fill_feed "${id/%.Managed/.Gpu}"
  done
  {
    echo '<!-- Written by eng/setup.sh: where the packages come from on this machine. Delete it to have that decided anew. -->'
    echo '<Project>'
    echo '  <PropertyGroup>'
    echo "    <UseOnnxSharp Condition=\"'\$(UseOnnxSharp)' == ''\">$onnxsharp</UseOnnxSharp>"
    if $feed; then
      echo "    <RestoreAdditionalProjectSources>\$(RestoreAdditionalProjectSources);$FEED</RestoreAdditionalProjectSources>"
      # A folder of its own, so that stand-ins never reach other projects of this user.
      echo "    <RestorePackagesPath>$FEED_PACKAGES</RestorePackagesPath>"
    fi
    echo '  </PropertyGroup>'
    echo '</Project>'
  } >"$DECISION.tmp"
  mv "$DECISION.tmp" "$DECISION"
}

# locked FILE COMMAND...: runs the command unless the file is there, one at a time.
locked() {
  local file=$1
  shift
  [ ! -e "$file" ] || return 0
  mkdir -p "$ORTQUANT_CACHE"
  exec 9>"$ORTQUANT_CACHE/.lock"
  flock 9
  [ -e "$file" ] || "$@" 9>&-
  exec 9>&-
}

packages() { locked "$DECISION" decide; }

decide_genai() {
  step "asking the NuGet source for onnxruntime-genai $GENAI"
  [ -z "$(missing_packages "Microsoft.ML.OnnxRuntimeGenAI:$GENAI")" ] || fill_feed Microsoft.ML.OnnxRuntimeGenAI
  touch "$ORTQUANT_CACHE/genai-$GENAI"
}

include_dir() {
  local folder
  packages
  if [ -e "$STAGE/onnxruntime/.complete" ]; then echo "$STAGE/onnxruntime/include"; return; fi
  need_dotnet
  step "restoring ONNX Runtime $ORT"
  dotnet restore "$ORTQUANT_ROOT/OrtQuant.GraphRewriter/OrtQuant.GraphRewriter.csproj" >&2 || fail "dotnet restore failed"
  for folder in "${NUGET_PACKAGES:-$HOME/.nuget/packages}"/microsoft.ml.onnxruntime{.gpu.linux,.gpu,}/"$ORT"/{build,buildTransitive}/native/include; do
    [ ! -e "$folder/onnxruntime_c_api.h" ] || { echo "$folder"; return; }
  done
  fail "the restored ONNX Runtime packages hold no onnxruntime_c_api.h"
}

case ${1:-} in
  packages) packages ;;
  genai) packages; locked "$ORTQUANT_CACHE/genai-$GENAI" decide_genai ;;
  include-dir) include_dir ;;
  *) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
