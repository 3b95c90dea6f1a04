#!/bin/sh
# All that `make check` does and CI runs. Stops at the first failure; the last line counts what passed.
set -eu
cd "$(dirname "$0")/.."
. scripts/stage.sh

formatted() {
  git ls-files '*.c' '*.h' | xargs clang-format-19 --dry-run -Werror
}

stage "release build" build release
stage "clang-format" formatted
stage "layers" python3 -B tests/check_layers.py
stage "enclave image" python3 -B tests/enclave_image.py build/bin/tee/carrel-enclave
sed 's/^/  /' "$logs/enclave-image.log"
tests "release tests" release -j6 # end-to-end tests wait more than they compute
stage "asan build" build asan
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
# Under a sanitizer the theft fits its adapters for more than a minute: that is `make check-long`'s.
tests "asan unit tests" asan -R '^unit\.' -E '^unit\.test_slicing_theft$' -j4
stage "demo" examples/demo/run.sh
export CARREL_FUZZ_SEED=1 # a commit's check depends on the commit alone; `make check-long` looks for new inputs
stage "fuzz smoke" scripts/fuzz.sh 4
