#!/usr/bin/env bash
# Builds the tool that ./ortquant starts into build/tool:  eng/build-tool.sh FINGERPRINT
# Gets ONNX Runtime, builds the native library, then the tool; says what it does on standard error.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

fingerprint=${1:?usage: eng/build-tool.sh FINGERPRINT}
build=$ORTQUANT_ROOT/build
tool=$build/tool
mkdir -p "$build"

exec 7>"$build/.tool.lock"
flock 7
if [ -e "$tool/.fingerprint" ] && [ "$(<"$tool/.fingerprint")" = "$fingerprint" ]; then
  exit 0 # another start has just built it
fi

seconds=$SECONDS
[ -e "$tool" ] && step "sources changed: rebuilding" || step "first start: setting up and building, this takes a minute or two"
need_dotnet
need cmake:cmake g++:g++ ninja:ninja-build
"$ORTQUANT_ROOT/eng/setup.sh" packages 7>&-
step "building the native library"
quietly "$ORTQUANT_ROOT/eng/native.sh" "$build" 7>&-

# Own folders for intermediate files keep this build apart from those of the solution.
publish() {
  rm -rf "$tool.new"
  dotnet publish "$ORTQUANT_ROOT/OrtQuant.GraphRewriter" -c Release -r linux-x64 --self-contained false -v quiet -tl:off \
    --artifacts-path "$build/dotnet" -o "$tool.new" -p:UseSharedCompilation=false -nodeReuse:false "$@" 7>&-
}

# Compiled ahead of time it starts faster; not every NuGet source serves the package with the compiler for that.
publish_fastest() {
  local log=$build/publish.log
  if publish -p:PublishReadyToRun=true >"$log" 2>&1; then return 0; fi
  if grep -qiE 'NU110[1-3].*crossgen' "$log"; then publish; else cat "$log"; return 1; fi
}

step "building the tool"
quietly publish_fastest

# Moved into place, so that a tool that is running keeps its files.
echo "$fingerprint" >"$tool.new/.fingerprint"
rm -rf "$tool.old"
[ ! -e "$tool" ] || mv "$tool" "$tool.old"
mv "$tool.new" "$tool"
rm -rf "$tool.old"
step "ready after $((SECONDS - seconds)) s"
