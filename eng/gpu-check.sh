#!/usr/bin/env bash
# Everything there is to know of the CUDA kernels on this machine's GPU, in one call of less than ten minutes from a bare checkout:
# builds them for this GPU, tests them, runs compute-sanitizer, measures. Needs nvcc 12.4 or newer, cmake and g++; nothing is fetched.
#
#   eng/gpu-check.sh [OUT_FOLDER]      default: out/gpu-check
#   eng/gpu-check.sh --compile-only    builds for sm_90a without a GPU, to see that everything is there
#
# Each part has its share of the time and is skipped, by name, when there is too little left. Writes logs, bench.json and summary.json
# to OUT_FOLDER; a short table comes last. GPU settings are left alone.
set -uo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ORTQUANT_ROOT"

compile_only=false
if [ "${1:-}" = --compile-only ]; then compile_only=true; shift; fi
OUT=${1:-out/gpu-check}
LIMIT=${ORTQUANT_GPU_CHECK_SECONDS:-570}
! $compile_only || LIMIT=3600
BUILD=build-gpu
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
started=$SECONDS
names=() results=()

left() { echo $((LIMIT - (SECONDS - started))); }

# part NAME SECONDS COMMAND...: runs it with at most that long (and what is left) and remembers how it ended.
part() {
  local name=$1 limit=$2 status=0 began=$SECONDS
  shift 2
  [ "$limit" -le "$(left)" ] || limit=$(left)
  names+=("$name")
  if [ "$limit" -lt 10 ]; then results+=("skipped, no time left"); return 1; fi
  step "$name"
  # A shell of its own, which knows the functions below: timeout runs programs only.
  timeout --kill-after=5 "$limit" bash -c '"$@"' bash "$@" >"$OUT/$name.log" 2>&1 || status=$?
  case $status in
    0) results+=("ok, $((SECONDS - began)) s: $(grep -E '[0-9]+ passed, [0-9]+ failed|ERROR SUMMARY|RACECHECK SUMMARY' "$OUT/$name.log" | tail -1 | sed 's/=//g; s/^ *//')") ;;
    124 | 137) results+=("ran past $limit s") ;;
    *) results+=("FAILED with code $status: $(tail -1 "$OUT/$name.log" | cut -c1-150)") ;;
  esac
  return $status
}

toolkit=$(eng/cuda-toolkit.sh --found) || fail "no CUDA compiler: set CUDA_HOME, or get one with eng/cuda-toolkit.sh"
if $compile_only; then
  architecture=90a
else
  command -v nvidia-smi >/dev/null || fail "no nvidia-smi: is there a GPU on this machine?"
  nvidia-smi --query-gpu=name,driver_version,compute_cap,clocks.sm,clocks.max.sm,clocks.mem,power.limit --format=csv | tee "$OUT/gpu.csv" >&2
  architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d '. ')
  [ "$architecture" != 90 ] || architecture=90a
fi
"$toolkit/bin/nvcc" --version | tail -2 >&2

build() {
  local ninja=()
  ! command -v ninja >/dev/null || ninja=(-G Ninja)
  cmake -S OrtQuant.Native/cuda -B $BUILD "${ninja[@]}" -DCMAKE_CUDA_COMPILER="$toolkit/bin/nvcc" -DORTQUANT_CUDA_ARCHITECTURES="$architecture-real" &&
    cmake --build $BUILD -j "$(nproc)" --target ortquant_cuda ortquant_cuda_test ortquant_cuda_bench
}

# cuBLAS of the toolkit, or of a Python package.
libraries=$toolkit/lib64
if command -v python3 >/dev/null; then
  libraries+=:$(python3 -c 'import glob, os, site; print(":".join(p for s in site.getsitepackages() for p in glob.glob(os.path.join(s, "nvidia", "*", "lib"))))' 2>/dev/null || true)
fi
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

sanitizer() {
  local tool
  for tool in "$toolkit/bin/compute-sanitizer" "$(command -v compute-sanitizer || true)"; do
    [ -x "$tool" ] || continue
    "$tool" --tool "$1" --error-exitcode 1 "${@:2}" $BUILD/bin/ortquant_cuda_test --tiny
    return
  done
  echo "no compute-sanitizer"
  return 127
}

# What the hardware says of the kernels that matter: achieved bandwidth and what warps wait for.
profile() {
  ncu --clock-control none --set basic --section SchedulerStats --section WarpStateStats --section MemoryWorkloadAnalysis \
    -k regex:'GroupGemv|GroupGemm' -c 6 $BUILD/bin/ortquant_cuda_bench --quick
}

export BUILD toolkit architecture
export -f build sanitizer profile
part build $((LIMIT * 8 / 10)) build || { tail -30 "$OUT/build.log"; exit 1; }
if command -v "$toolkit/bin/cuobjdump" >/dev/null; then
  "$toolkit/bin/cuobjdump" --dump-resource-usage $BUILD/lib/libortquant_cuda.so >"$OUT/resources.txt" 2>&1
fi
if ! $compile_only; then
  part test 120 $BUILD/bin/ortquant_cuda_test
  part bench 200 $BUILD/bin/ortquant_cuda_bench --sweep --json "$OUT/bench.json"
  command -v python3 >/dev/null && part torch 60 python3 eng/gpu-bench-torch.py "$OUT/torch.json"
  part memcheck 90 sanitizer memcheck
  part racecheck 90 sanitizer racecheck --racecheck-report all
  command -v ncu >/dev/null && part profile 60 profile
fi

# A short table last, and all of it as JSON.
{
  printf '{"date": "%s", "commit": "%s", "parts": {' "$(date -u +%FT%TZ)" "$(git rev-parse --short HEAD 2>/dev/null)"
  for i in "${!names[@]}"; do
    [ "$i" = 0 ] || printf ', '
    printf '"%s": "%s"' "${names[$i]}" "$(printf '%s' "${results[$i]}" | tr -d '"\\')"
  done
  printf '}}\n'
} >"$OUT/summary.json"
if [ -s "$OUT/bench.log" ]; then
  echo
  sed -n 1,2p "$OUT/bench.log"
  grep -E '^own ' "$OUT/bench.log" | head -120
fi
[ ! -s "$OUT/torch.log" ] || { echo; cat "$OUT/torch.log"; }
echo
code=0
for i in "${!names[@]}"; do
  printf '%-10s %s\n' "${names[$i]}" "${results[$i]}"
  case ${results[$i]} in ok*) ;; *) code=1 ;; esac
done
exit $code
