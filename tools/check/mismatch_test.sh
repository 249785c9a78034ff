#!/bin/bash
# mismatch_test.sh SOUND BROKEN: the sound program finds that the modes agree; the same program with a fault in two modes
# (a layer's norm is forgotten where norms are computed right after a layer) names exactly these and exits with code 1.
set -u
sound=$1 broken=$2
arguments=(modes --preset quick --steps 2 --modes per_example,no_dp,ghost,flash,flash_fuse --no_plots)

fail() {
  echo "$1"
  cat "$TEST_TMPDIR/output.txt"
  exit 1
}

"$sound" "${arguments[@]}" >"$TEST_TMPDIR/output.txt" 2>&1
[ $? -eq 0 ] || fail "the sound program did not exit with code 0"
grep -qx 'all 5 modes agree' "$TEST_TMPDIR/output.txt" || fail "the sound program does not say that all agree"

"$broken" "${arguments[@]}" --out "$TEST_TMPDIR/out" >"$TEST_TMPDIR/output.txt" 2>&1
[ $? -eq 1 ] || fail "the broken program did not exit with code 1"
grep -qx 'DIFFERS: ghost, flash' "$TEST_TMPDIR/output.txt" || fail "the broken program does not name ghost and flash alone"
grep -q '"agrees": false' "$TEST_TMPDIR/out/report.json" || fail "report.json says nothing of it"
