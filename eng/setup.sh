#!/usr/bin/env bash
# Gets what the build needs from outside and remembers it in a cache folder outside the repository
# ($ORTQUANT_CACHE, default ~/.cache/ortquant). Safe to run at any time and by several builds at once.
#
#   eng/setup.sh packages      NuGet packages: decides whether the NuGet source serves ONNX Runtime; where it does not,
#                              fills a local feed with packages of the same ids and versions, made from npm packages
#   eng/setup.sh include-dir   the same, then prints the folder of ONNX Runtime's C headers
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ORT=$(version OnnxRuntimeVersion)
EXTENSIONS=$(version OnnxRuntimeExtensionsVersion)
MSTEST=$(version MSTestVersion)
ONNXSHARP=$(version OnnxSharpVersion)

# Directory.Build.props imports this file; its name changes when what it stands for changes.
DECISION=$ORTQUANT_CACHE/packages-$ORT-$EXTENSIONS-$MSTEST.props
STAGE=$ORTQUANT_CACHE/ort-$ORT
FEED=$ORTQUANT_CACHE/feed
FEED_PACKAGES=$ORTQUANT_CACHE/packages

# fetch_npm NAME@VERSION MEGABYTES SHA256 DIRECTORY MEMBER...: unpacks members of an npm package, checked, into DIRECTORY.
fetch_npm() {
  local package=$1 megabytes=$2 sha256=$3 directory=$4 work=$ORTQUANT_CACHE/download received
  shift 4
  need npm:npm node:nodejs
  rm -rf "$work" && mkdir -p "$work/npm"
  step "downloading $package ($megabytes MB)"
  (cd "$work" && npm pack --silent --cache "$work/npm" "$package" >/dev/null) &
  local npm=$!
  trap "kill $npm 2>/dev/null" EXIT # a background job does not hear Ctrl-C
  while kill -0 $npm 2>/dev/null; do
    sleep 0.5
    [ -t 2 ] || continue
    # npm keeps what it received in its cache before it writes the archive.
    received=$(du -sm "$work/npm" 2>/dev/null | cut -f1 || true)
    printf "\r    %3d of %d MB" "$((received < megabytes ? received : megabytes))" "$megabytes" >&2
  done
  [ ! -t 2 ] || printf '\r\033[K' >&2
  trap - EXIT
  wait $npm || fail "npm could not download $package"
  local archive
  archive=$(echo "$work"/*.tgz)
  echo "$sha256  $archive" | sha256sum --check --status ||
    fail "$package: sha256 is $(sha256sum "$archive" | cut -d' ' -f1), expected $sha256"
  rm -rf "$directory" && mkdir -p "$directory"
  tar -xzf "$archive" -C "$directory" --strip-components=1 "$@"
  rm -rf "$work"
}

# Unpacked npm packages, arranged as eng/feed expects them. A finished one is never fetched again.
stage_onnxruntime() {
  [ ! -e "$STAGE/onnxruntime/.complete" ] || return 0
  local headers='package/Plugins/iOS~/onnxruntime.xcframework/ios-arm64/onnxruntime.framework/Headers'
  fetch_npm com.github.asus4.onnxruntime@0.4.9 143 e59788788818fdde1b2e522e766a21ba0f7d8391de55737abf81e32cc801785d "$STAGE/onnxruntime" \
    package/LICENSE package/ThirdPartyNotices.txt package/Runtime package/Plugins/Linux/x64 "$headers"
  (cd "$STAGE/onnxruntime" && mv Plugins/Linux/x64 native && mv "${headers#package/}" include && rm -rf Plugins && mv LICENSE LICENSE.txt && touch .complete)
}

stage_extensions() {
  [ ! -e "$STAGE/extensions/.complete" ] || return 0
  fetch_npm com.github.asus4.onnxruntime-extensions@0.4.9 25 013055b4988fd3b96422c5e916bfc318b1c9eebd8f94600d4018860da1a08b1b \
    "$STAGE/extensions" package/LICENSE package/ThirdPartyNotices.txt package/Plugins/Linux/x64
  (cd "$STAGE/extensions" && mv Plugins/Linux/x64 native && rm -rf Plugins && mv LICENSE LICENSE.txt && touch .complete)
}

# pack ID VERSION: a package of the local feed from eng/feed/ID.nuspec, whose paths are relative to the stage.
pack() {
  cp "$ORTQUANT_ROOT/eng/feed/$1.nuspec" "$STAGE/$1.nuspec"
  dotnet pack "$STAGE/$1.nuspec" --version "$2" -o "$FEED" >"$STAGE/pack.log" 2>&1 || { cat "$STAGE/pack.log" >&2; fail "could not pack $1"; }
}

fill_feed() {
  local id
  mkdir -p "$FEED" "$STAGE"
  for id in "$@"; do
    # Restored copies of an earlier feed must not outlive it.
    rm -rf "$FEED_PACKAGES/${id,,}" "$FEED/$id".*.nupkg
    case $id in
      Microsoft.ML.OnnxRuntime.Gpu)
        stage_onnxruntime
        step "packing $id $ORT into the local feed"
        rm -rf "$FEED_PACKAGES"/microsoft.ml.onnxruntime.{managed,gpu.linux}
        dotnet pack "$ORTQUANT_ROOT/eng/feed/Managed.csproj" -p:Unpacked="$STAGE" -p:Work="$STAGE/build" -p:Version="$ORT" -o "$FEED" \
          >"$STAGE/pack.log" 2>&1 || { cat "$STAGE/pack.log" >&2; fail "could not compile the C# API of ONNX Runtime"; }
        pack Microsoft.ML.OnnxRuntime.Gpu.Linux "$ORT"
        pack Microsoft.ML.OnnxRuntime.Gpu "$ORT" ;;
      Microsoft.ML.OnnxRuntime.Extensions)
        stage_extensions
        step "packing $id $EXTENSIONS into the local feed"
        pack "$id" "$EXTENSIONS" ;;
      MSTest)
        step "packing $id $MSTEST into the local feed"
        pack "$id" "$MSTEST" ;;
    esac
  done
}

# Prints the ids among the fixed packages that the NuGet source does not serve, found by restoring a project that names them.
# The probe asks for the small managed package of ONNX Runtime: what it answers holds for the large ones too.
missing_packages() {
  local probe=$ORTQUANT_CACHE/probe
  rm -rf "$probe" && mkdir -p "$probe"
  echo '<Project />' | tee "$probe/Directory.Build.props" "$probe/Directory.Build.targets" "$probe/Directory.Packages.props" >/dev/null
  cat >"$probe/probe.csproj" <<EOF
<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup>
    <TargetFramework>net10.0</TargetFramework>
    <RestorePackagesPath>$probe/packages</RestorePackagesPath>
  </PropertyGroup>
  <ItemGroup>
    <PackageReference Include="Microsoft.ML.OnnxRuntime.Managed" Version="[$ORT]" />
    <PackageReference Include="Microsoft.ML.OnnxRuntime.Extensions" Version="[$EXTENSIONS]" />
    <PackageReference Include="MSTest" Version="[$MSTEST]" />
    <PackageReference Include="OnnxSharp" Version="[$ONNXSHARP]" />
  </ItemGroup>
</Project>
EOF
  if ! dotnet restore "$probe/probe.csproj" --nologo >"$probe/log" 2>&1 && ! grep -qE 'NU110[1-3]' "$probe/log"; then
    cat "$probe/log" >&2
    fail "the NuGet source did not answer"
  fi
  grep -oE 'NU110[1-3]: [^.]*package [A-Za-z.]+' "$probe/log" | sed 's/.* //; s/\.$//; s/Runtime\.Managed$/Runtime.Gpu/' | sort -u || true
  rm -rf "$probe"
}

decide() {
  need_dotnet
  step "asking the NuGet source for ONNX Runtime $ORT"
  local missing feed=() id onnxsharp=true
  missing=$(missing_packages)
  for id in $missing; do
    if [ "$id" = OnnxSharp ]; then onnxsharp=false; else feed+=("$id"); fi
  done
  {
    echo '<!-- Written by eng/setup.sh: where the packages come from on this machine. Delete it to have that decided anew. -->'
    echo '<Project>'
    echo '  <PropertyGroup>'
    echo "    <UseOnnxSharp Condition=\"'\$(UseOnnxSharp)' == ''\">$onnxsharp</UseOnnxSharp>"
    if [ ${#feed[@]} -gt 0 ]; then
      step "it does not serve it: filling a local feed from npm packages"
      fill_feed "${feed[@]}"
      echo "    <RestoreAdditionalProjectSources>\$(RestoreAdditionalProjectSources);$FEED</RestoreAdditionalProjectSources>"
      # A folder of its own, so that stand-ins never reach other projects of this user.
      echo "    <RestorePackagesPath>$FEED_PACKAGES</RestorePackagesPath>"
    fi
    echo '  </PropertyGroup>'
    echo '</Project>'
  } >"$DECISION.tmp"
  mv "$DECISION.tmp" "$DECISION"
}

packages() {
  [ ! -e "$DECISION" ] || return 0
  mkdir -p "$ORTQUANT_CACHE"
  exec 9>"$ORTQUANT_CACHE/.lock"
  flock 9
  [ -e "$DECISION" ] || decide 9>&-
}

include_dir() {
  packages
  local folder
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
  include-dir) include_dir ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
