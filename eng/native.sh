#!/usr/bin/env bash
# Builds the native library:  eng/native.sh BUILD_FOLDER [--all] [CMAKE_OPTION...]
# Configures the folder the first time (or when options are given) and builds what changed: the library, with --all the
# tests as well. One build of a folder at a time.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

build=${1:?usage: eng/native.sh BUILD_FOLDER [--all] [CMAKE_OPTION...]}
build=${build%/}
shift
target=native_libraries
if [ "${1:-}" = --all ]; then target=all; shift; fi

need cmake:cmake g++:g++ ninja:ninja-build
mkdir -p "$build"
exec 8>"$build/.lock"
flock 8
if [ ! -e "$build/build.ninja" ] || [ $# -gt 0 ]; then
  cmake -S "$ORTQUANT_ROOT" -B "$build" -G Ninja "$@" 8>&-
fi
cmake --build "$build" --target "$target" 8>&-
