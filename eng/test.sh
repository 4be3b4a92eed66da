#!/usr/bin/env bash
# Builds everything and runs all tests, native and C#. The last line is "N passed, N failed[, N skipped]" over both.
#
#   eng/test.sh                      all tests
#   eng/test.sh --filter EXPRESSION  only C# tests that match, e.g. "FullyQualifiedName~Planning", "TestCategory!=Packaging"
#   eng/test.sh --native-only        only the native tests
#   eng/test.sh --sanitize           only the native tests, built with AddressSanitizer and UndefinedBehaviorSanitizer
#
# ORTQUANT_FORCE_ISA=reference|avx2|avx512 runs them all on that instruction set.
# ORTQUANT_TEST_DATA names a folder of optional large test data (default: ../shared); tests that need it are skipped without.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

native=true managed=true sanitize=false filter=
while [ $# -gt 0 ]; do
  case $1 in
    --native-only) managed=false ;;
    --sanitize) managed=false sanitize=true ;;
    --filter) filter=${2:?--filter needs an expression}; native=false; shift ;;
    -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) echo "unknown option: $1 (see eng/test.sh --help)" >&2; exit 2 ;;
  esac
  shift
done

passed=0 failed=0 skipped=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# add PASSED FAILED SKIPPED EXIT_CODE WHAT: a runner that exits with an error has failed, whatever it counted.
add() {
  passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
  if [ "$4" != 0 ] && [ "$2" = 0 ]; then
    echo "$5: exit code $4 without a failed test; counted as a failure"
    failed=$((failed + 1))
  elif [ $(($1 + $2 + $3)) = 0 ]; then
    echo "$5: no test ran; counted as a failure"
    failed=$((failed + 1))
  fi
}

run_native() {
  local build=$ORTQUANT_ROOT/build options=(-DORTQUANT_TESTS=ON) status=0 report=$scratch/ctest.xml
  need /usr/include/gtest/gtest.h:libgtest-dev
  if $sanitize; then
    build=$ORTQUANT_ROOT/build-sanitize
    options+=(-DCMAKE_BUILD_TYPE=RelWithDebInfo "-DORTQUANT_SANITIZE=address;undefined")
  fi
  step "building the native tests"
  quietly "$ORTQUANT_ROOT/eng/native.sh" "$build" --all "${options[@]}" || { add 0 0 0 1 "native build"; return; }
  step "native tests"
  ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1:malloc_context_size=2} UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1} \
    LSAN_OPTIONS=${LSAN_OPTIONS:-suppressions=$ORTQUANT_ROOT/eng/lsan.supp:print_suppressions=0} \
    ctest --test-dir "$build" --output-on-failure --progress --no-tests=error -j "$(nproc)" --output-junit "$report" || status=$?
  # shellcheck disable=SC2046 # three words on purpose
  add $(count_junit "$report") "$status" "ctest"
}

# count_junit FILE: "passed failed skipped" of a ctest report.
count_junit() {
  [ -e "$1" ] || { echo 0 0 0; return; }
  awk '
    /<testcase / { total++ }
    /<testcase .*status="fail"/ { failed++ }
    /<testcase .*status="(notrun|disabled)"/ { skipped++ }
    END { print total - failed - skipped, failed + 0, skipped + 0 }' "$1"
}

run_managed() {
  local status=0 log=$scratch/mstest.log tests=$ORTQUANT_ROOT/OrtQuant.Tests/bin/Release/net10.0
  need_dotnet
  "$ORTQUANT_ROOT/eng/setup.sh" packages
  step "building the C# projects"
  quietly dotnet build "$ORTQUANT_ROOT/OrtQuant.sln" -c Release -v quiet -tl:off || { add 0 0 0 1 "dotnet build"; return; }
  step "C# tests"
  dotnet "$tests/OrtQuant.Tests.dll" --ansi off --timeout 40m --results-directory "$scratch" ${filter:+--filter "$filter"} </dev/null 2>&1 | tee "$log" || status=${PIPESTATUS[0]}
  # shellcheck disable=SC2046
  add $(awk '/^ *(total|failed|succeeded|skipped): [0-9]+$/ { n[$1] = $2 }
    END { print n["succeeded:"] + 0, n["failed:"] + 0, n["skipped:"] + 0 }' "$log") "$status" "MSTest"
}

if $native; then run_native; fi
if $managed; then run_managed; fi

echo
summary="$passed passed, $failed failed"
[ "$skipped" = 0 ] || summary+=", $skipped skipped"
echo "$summary"
[ "$failed" = 0 ]
