#!/bin/bash
# equality_mismatch_test.sh SOUND BROKEN HOARDING: the sound program finds that the world sizes agree; the same program with a
# fault in the sum over ranks (the last rank's share is left out) names exactly the world sizes that have more than one rank; one
# whose ranks never free the units that they gather names them all, by their memory.
set -u
sound=$1 broken=$2 hoarding=$3
arguments=(equality --preset seed001 --world_sizes 1,2,3)

fail() {
  echo "$1"
  cat "$TEST_TMPDIR/output.txt"
  exit 1
}

"$sound" "${arguments[@]}" >"$TEST_TMPDIR/output.txt" 2>&1
[ $? -eq 0 ] || fail "the sound program did not exit with code 0"
grep -qx 'all 3 world sizes agree' "$TEST_TMPDIR/output.txt" || fail "the sound program does not say that all agree"

"$broken" "${arguments[@]}" --out "$TEST_TMPDIR/out" >"$TEST_TMPDIR/output.txt" 2>&1
[ $? -eq 1 ] || fail "the broken program did not exit with code 1"
[ "$(grep -o '^DIFFERS: [0-9] rank' "$TEST_TMPDIR/output.txt" | tr -dc '0-9')" = 23 ] ||
  fail "the broken program does not name 2 and 3 ranks alone"
grep -q '"agrees": false' "$TEST_TMPDIR/out/equality.json" || fail "equality.json says nothing of it"

"$hoarding" "${arguments[@]}" >"$TEST_TMPDIR/output.txt" 2>&1
[ $? -eq 1 ] || fail "the hoarding program did not exit with code 1"
[ "$(grep -c "^DIFFERS: [0-9] ranks*: a rank's tensors hold" "$TEST_TMPDIR/output.txt")" = 3 ] ||
  fail "the hoarding program does not name 1, 2 and 3 ranks by their memory"

"$sound" equality --world_sizes 2 >"$TEST_TMPDIR/output.txt" 2>&1
[ $? -eq 2 ] || fail "one world size was compared with itself"
