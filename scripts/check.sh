#!/bin/sh
# All that `make check` does and CI runs. Stops at the first failure; the last line counts what passed.
set -eu
cd "$(dirname "$0")/.."
. scripts/stage.sh

formatted() {
  git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror
}

# What a TEE measures has no attester that proves nothing.
without_development() {
  ar t build/enclave/src/attestation/libcarrel_attestation.a >build/enclave/members
  grep -q development_none build/enclave/members && ! grep -q development_make build/enclave/members
}

stage "release build" build release
stage "clang-format" formatted
stage "layers" python3 -B tests/check_layers.py
tests "release tests" release -j2
stage "asan build" build asan
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
tests "asan unit tests" asan -R '^unit\.' -j2
stage "enclave build" build enclave
stage "enclave without development" without_development
stage "demo" examples/demo/run.sh
export CARREL_FUZZ_SEED=1 # a commit's check depends on the commit alone; `make check-long` looks for new inputs
stage "fuzz smoke" scripts/fuzz.sh 4
