#!/bin/sh
# scripts/fuzz.sh SECONDS [NAME...]: builds the fuzzers and runs each (or those named, without fuzz_) for so long,
# from a copy of its corpus, four at a time on each processor. Fails on a crash, a leak or a hang; the input that did it
# is kept in build/fuzz/found/. CARREL_FUZZ_SEED makes it try the same inputs each time; without it they are new ones.
set -eu
cd "$(dirname "$0")/.."

# One fuzzer; called by xargs below.
if [ "${1:-}" = --one ]; then
  seconds=$2
  name=$3
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir "$work/corpus"
  [ ! -d "fuzz/corpus/$name" ] || cp "fuzz/corpus/$name"/* "$work/corpus/"
  if ! "build/fuzz/bin/fuzz_$name" -max_total_time="$seconds" -seed="${CARREL_FUZZ_SEED:-0}" -timeout=10 \
    -rss_limit_mb=2048 -close_fd_mask=1 -artifact_prefix="build/fuzz/found/$name-" "$work/corpus" >"$work/log" 2>&1; then
    echo "fuzz_$name FAILED:"
    grep -v '^#' "$work/log" | tail -n 60
    exit 1
  fi
  sed -n "s/^Done \(.*\)/fuzz_$name: \1/p" "$work/log"
  exit 0
fi

seconds=${1:?usage: scripts/fuzz.sh SECONDS [NAME...]}
shift
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz >/dev/null || cmake --build --preset fuzz
mkdir -p build/fuzz/found
if [ $# -eq 0 ]; then
  for source in fuzz/fuzz_*.c; do
    name=${source#fuzz/fuzz_}
    set -- "$@" "${name%.c}"
  done
fi
printf '%s\n' "$@" | xargs -n 1 -P $((4 * $(nproc))) "$0" --one "$seconds"
