#!/bin/sh
# What is too slow for every commit (`make check-long`): races, uninitialised memory, the programs themselves under
# AddressSanitizer, fifty seeds of faults, full disks, and longer fuzzing. Some two hours on two cores.
# Stops at the first failure; the last line counts what passed.
set -eu
cd "$(dirname "$0")/.."
. scripts/stage.sh

fault_seeds=50
fuzz_seconds=600 # of each fuzzer

stage "tsan build" build tsan
export TSAN_OPTIONS=halt_on_error=1
tests "tsan unit tests" tsan -R '^unit\.' -j2
tests "tsan end-to-end federation" tsan -R '^e2e\.test_federation$'
stage "debug build" build debug
# It shows programs a processor without AVX-512 and AMX, whose instructions it lacks: what runs is the scalar engine and
# AVX2.
export CARREL_UNDER="valgrind --quiet --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite"
# The theft fits adapters, which had not ended after half an hour there; ASan runs it below.
tests "unit tests under valgrind" debug -R '^unit\.' -E '^unit\.test_slicing_theft$' -j"$(nproc)"
unset CARREL_UNDER
stage "asan build" build asan
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
# The libraries that test_enclave and test_deploy list, the system calls that test_deploy and test_gramine leave, and the
# memory that test_split_cost bounds, are those of programs without a sanitizer.
tests "asan theft and end-to-end tests" asan -R '^(e2e\.|unit\.test_slicing_theft$)' \
  -E 'test_(deploy|enclave|gramine|split_cost)$' -j"$(nproc)"
stage "release build" build release
stage "$fault_seeds seeds of faults" python3 -B tests/e2e/test_faults.py build/bin --seeds $fault_seeds
if [ "$(id -u)" -eq 0 ] || unshare -rm true 2>/dev/null; then
  stage "full disk at every write" python3 -B tests/e2e/test_disk_full.py build/bin --every
else
  echo "full disk at every write: skipped, nothing can be mounted here"
  skipped=$((skipped + 1))
fi
stage "fuzzing" scripts/fuzz.sh $fuzz_seconds
