#!/usr/bin/env bash
# Formats all C++ and C# sources:  eng/format.sh          With --check it changes nothing and fails where it would.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ORTQUANT_ROOT"

check=false
case ${1:-} in
  "") ;;
  --check) check=true ;;
  *) echo "usage: eng/format.sh [--check]" >&2; exit 2 ;;
esac

need clang-format:clang-format
need_dotnet
eng/setup.sh packages
mapfile -t sources < <(git ls-files --cached --others --exclude-standard \
  'OrtQuant.Native/*.cc' 'OrtQuant.Native/*.h' 'OrtQuant.Native/*.cu' 'OrtQuant.Native/*.cuh' 'OrtQuant.Native/*.inc')
if $check; then
  clang-format --dry-run -Werror "${sources[@]}"
  dotnet format OrtQuant.sln whitespace --verify-no-changes
else
  clang-format -i "${sources[@]}"
  dotnet format OrtQuant.sln whitespace
fi
