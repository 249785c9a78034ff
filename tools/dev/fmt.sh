#!/usr/bin/env bash
# Formats C++ sources with clang-format and checks BUILD files; --check changes nothing and fails on a difference.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "${1:-}" = --check ] || no_arguments "$@"
cd "$SOTTO_ROOT"

command -v clang-format >/dev/null || die "clang-format is missing: run ./dev build, which installs it"
mapfile -t sources < <(git ls-files '*.cc' '*.h' '*.cu' '*.cuh')
mapfile -t builds < <(git ls-files '*BUILD' '*.BUILD' '*.bzl' WORKSPACE)
status=0

if [ "${1:-}" = --check ]; then
  clang-format --dry-run --Werror "${sources[@]}" || status=1
else
  clang-format -i "${sources[@]}"
fi

# complain PATTERN TEXT FILES...: a matching line is a fault.
complain() {
  local pattern=$1 text=$2
  shift 2
  if grep -nHE "$pattern" "$@" >&2; then
    say "$text"
    status=1
  fi
}
complain $'\t' "BUILD files are indented with spaces" "${builds[@]}"
complain '[[:space:]]+$' "no spaces at the end of a line" "${builds[@]}"
mapfile -t own < <(printf '%s\n' "${builds[@]}" | grep -vE '^third_party/|[.]bzl$')
complain '^(cc_library|cc_binary|cc_test)\(' "BUILD files of the project use the rules of //bazel:defs.bzl" "${own[@]}"
for build in "${builds[@]}"; do
  case $build in
    third_party/*/WORKSPACE | *.bzl) continue ;;
  esac
  read -r first <"$build" || true
  case $first in
    '#'*) ;;
    *)
      say "$build does not open with a comment that says what the package is"
      status=1
      ;;
  esac
done
exit "$status"
