#!/bin/bash
# run_twin.sh BINARY SUITE.CASE WORDS: succeeds when that case runs and fails by an assertion that says WORDS.
set -u
binary=$1 case=$2 words=$3
report=$TEST_TMPDIR/report.xml
output=$TEST_TMPDIR/output.txt

[ -n "$words" ] || { echo "the words of $case's failure are missing"; exit 1; }

# An exception ends the process like any other crash.
"$binary" --gtest_filter="$case" --gtest_catch_exceptions=0 --gtest_output="xml:$report" >"$output" 2>&1
code=$?
cat "$output"

if [ "$code" -ne 1 ]; then
  echo "$case ended with code $code: a twin must fail by assertion (code 1), not pass (0) or crash"
  exit 1
fi
if ! grep -q '<testsuites tests="1" ' "$report"; then
  echo "$case does not name exactly one test"
  exit 1
fi
if ! grep -q '<failure ' "$report"; then
  echo "$report holds no failure of $case"
  exit 1
fi
if ! grep -qF -- "$words" "$output"; then
  echo "the failure of $case does not say: $words"
  exit 1
fi
echo "$case fails with the twin, as it must"
