#!/bin/bash
# check_outcomes.sh RIGHT WRONG EXPRESSION: RIGHT compiled, and WRONG only had the error that EXPRESSION matches.
set -u
right=$1 wrong=$2 expression=$3

if [ "$(tail -n 1 "$right")" != "exit 0" ]; then
  echo "the right wiring must compile:"
  cat "$right"
  exit 1
fi
cat "$wrong"
if [ "$(tail -n 1 "$wrong")" != "exit 1" ]; then
  echo "the compiler must refuse the wrong wiring"
  exit 1
fi
if [ "$(grep -c 'error: ' "$wrong")" -ne 1 ] || ! grep -qE "error: $expression" "$wrong"; then
  echo "the only error must match: $expression"
  exit 1
fi
echo "the wrong wiring is refused, as it must be"
