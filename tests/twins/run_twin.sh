#!/bin/bash
# run_twin.sh BINARY SUITE.CASE: succeeds when that case runs and fails by assertion.
set -u
binary=$1 case=$2
report=$TEST_TMPDIR/report.xml

"$binary" --gtest_filter="$case" --gtest_output="xml:$report"
code=$?

if [ "$code" -ne 1 ]; then
  echo "$case ended with code $code: a twin must fail by assertion (code 1), not pass (0) or crash"
  exit 1
fi
if ! grep -q '<failure ' "$report"; then
  echo "$report holds no failure of $case"
  exit 1
fi
if ! grep -q 'tests="1"' "$report"; then
  echo "$case does not name exactly one test"
  exit 1
fi
echo "$case fails with the twin, as it must"
