# Sourced by check.sh and check-long.sh: runs one stage after another, tells each one's seconds, stops at the first
# failure, and counts. The last line of output is always "N passed, N failed, N skipped".
passed=0
failed=0
skipped=0
logs=build/check
mkdir -p "$logs"
trap 'status=$?; [ $status -eq 0 ] || [ $failed -gt 0 ] || failed=1
echo "$passed passed, $failed failed, $skipped skipped"' EXIT

# run_logged TITLE COMMAND...: the command's output goes to a log, whose end is shown where it fails.
run_logged() {
  title=$1
  shift
  log="$logs/$(printf '%s' "$title" | tr -c 'a-z0-9\n' '-').log"
  begun=$(date +%s)
  printf '%-32s' "$title"
  if "$@" >"$log" 2>&1; then
    echo "ok      $(($(date +%s) - begun)) s"
    return 0
  fi
  echo "FAILED  $(($(date +%s) - begun)) s"
  tail -n 100 "$log"
  echo "(the whole output is in $log)"
  return 1
}

# stage TITLE COMMAND...: counts as one test.
stage() {
  if run_logged "$@"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    exit 1
  fi
}

# count_of ATTRIBUTE REPORT: a number of JUnit's head.
count_of() {
  sed -n "s/.*[[:space:]]$1=\"\([0-9]*\)\".*/\1/p" "$2" | head -n 1
}

# tests TITLE BUILD CTEST-ARGUMENTS...: each test of ctest counts. So does each case that a unit program skips while
# its other cases pass: what did not run must not look passed.
tests() {
  title=$1
  build=$2
  shift 2
  report="$PWD/$logs/$build.xml"
  rm -f "$report"
  outcome=0
  run_logged "$title" ctest --test-dir "build/$build" --no-tests=error --output-on-failure --output-junit "$report" \
    "$@" || outcome=1
  if [ -s "$report" ]; then
    log="build/$build/Testing/Temporary/LastTest.log"
    bad=$(count_of failures "$report")
    unrun=$(count_of skipped "$report")
    cases=$(grep '^\[  SKIPPED \] [a-z0-9_]*$' "$log" | sort -u | wc -l)
    scripts=$(grep 'status="notrun"' "$report" | grep -c 'name="e2e\.' || true)
    passed=$((passed + $(count_of tests "$report") - bad - unrun))
    failed=$((failed + bad))
    skipped=$((skipped + cases + scripts))
    [ "$cases" -eq 0 ] || grep '^\[  SKIPPED \] [a-z0-9_]*$' "$log" | sort -u | sed 's/^\[  SKIPPED \]/  skipped:/'
  fi
  [ $outcome -eq 0 ] || exit 1
}

# build PRESET
build() {
  cmake --preset "$1" && cmake --build --preset "$1"
}
