#!/usr/bin/env bash
# Rewrites a model with every algorithm at several widths and compares the results:  eng/quality.sh MODEL CALIBRATION OUT [EVALUATE OPTIONS]
#
#   MODEL        a folder with a model and its tokenizer
#   CALIBRATION  text for the algorithms that look at the inputs of weights
#   OUT          a folder for the rewritten models (kept) and the tables quality-BITS.md
#   the rest     what `ortquant evaluate` takes: the text to measure on
#
# Environment: ALGORITHMS (default: all), BITS (default: 4 3 2), REWRITE (more options of `ortquant rewrite`).
# docs/quality.md says how its tables were made with it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [ $# -lt 4 ]; then sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; fi
model=$1 calibration=$2 out=$3
shift 3
read -ra options <<<"${REWRITE:-}"
mkdir -p "$out"
for bits in ${BITS:-4 3 2}; do
  models=()
  for algorithm in ${ALGORITHMS:-rtn hqq weighted gptq descent}; do
    target=$out/$bits-bit-$algorithm
    needs=(--calibration "$calibration")
    case $algorithm in rtn | hqq) needs=() ;; esac
    step "$bits bits, $algorithm"
    rm -rf "$target"
    start=$(date +%s.%N)
    "$ORTQUANT_ROOT/ortquant" rewrite "$model" -o "$target" --bits "$bits" --algorithm "$algorithm" "${needs[@]}" "${options[@]}" >/dev/null
    echo "$bits $algorithm $(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }') s" | tee -a "$out/seconds.txt"
    models+=("$target")
  done
  "$ORTQUANT_ROOT/ortquant" evaluate "$model" "${models[@]}" "$@" --markdown "$out/quality-$bits.md"
done
