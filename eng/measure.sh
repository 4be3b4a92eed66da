#!/usr/bin/env bash
# Measures real models and writes the table in README.md:  eng/measure.sh --text FILE [--max-tokens N] NAME=FOLDER...
# What is measured is written in measure.cs.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_dotnet
"$ORTQUANT_ROOT/ortquant" --version >/dev/null
exec dotnet run "$ORTQUANT_ROOT/eng/measure.cs" -- "$ORTQUANT_ROOT" "$@"
