#!/bin/sh
# Runs one cmocka program. Tests that it skipped are named; a program in which every test was skipped is itself skipped
# (status 77), so that nothing that did not run counts as passed. CARREL_UNDER is a command that runs it (valgrind).
# shellcheck disable=SC2086 # words of their own
output=$(${CARREL_UNDER:-} "$1" 2>&1)
status=$?
printf '%s\n' "$output"
[ $status -eq 0 ] || exit $status
passed=$(printf '%s\n' "$output" | grep -c '^\[       OK \]')
skipped=$(printf '%s\n' "$output" | grep -c '^\[  SKIPPED \] .*$')
[ "$passed" -gt 0 ] && exit 0
[ "$skipped" -gt 0 ] && exit 77
echo "run_unit.sh: $1 ran no test" >&2
exit 1
