#!/usr/bin/env bash
# Runs every test (or the given Bazel targets and options) and counts GoogleTest cases. Exit code 0 only if all passed.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

bash "$SOTTO_ROOT/tools/dev/install.sh"

options=()
targets=()
for argument in "$@"; do
  case $argument in
    -*) options+=("$argument") ;;
    *) targets+=("$argument") ;;
  esac
done
[ "${#targets[@]}" -gt 0 ] || targets=(//...)

status=0
sotto_bazel test --keep_going --build_tests_only "${options[@]}" "${targets[@]}" || status=$?

labels=$(mktemp)
trap 'rm -f "$labels"' EXIT
sotto_bazel query --noshow_progress "tests(set(${targets[*]}))" >"$labels" 2>/dev/null ||
  die "cannot list the tests of ${targets[*]}"
python3 "$SOTTO_ROOT/tools/dev/count_tests.py" "$SOTTO_ROOT/bazel-testlogs" "$labels" "$status"
