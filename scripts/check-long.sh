#!/bin/sh
# What is too slow for every commit (`make check-long`): races, uninitialised memory, longer fuzzing, and the programs
# themselves under AddressSanitizer. Stops at the first failure; the last line counts what passed.
set -eu
cd "$(dirname "$0")/.."
. scripts/stage.sh

# Layers whose programs run no code made at run time and no instruction that valgrind lacks.
under_valgrind() {
  for program in build/debug/tests/test_base* build/debug/tests/test_format_* build/debug/tests/test_crypto_* \
    build/debug/tests/test_text_*; do
    echo "$program"
    valgrind --quiet --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite "$program" || return 1
  done
}

stage "tsan build" build tsan
export TSAN_OPTIONS=halt_on_error=1
tests "tsan unit tests" tsan -R '^unit\.' -j2
stage "debug build" build debug
stage "valgrind" under_valgrind
stage "asan build" build asan
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
# The list of libraries that test_enclave holds is of programs without a sanitizer's.
tests "asan end-to-end tests" asan -R '^e2e\.' -E test_enclave
stage "fuzzing" scripts/fuzz.sh 60
