#!/usr/bin/env bash
# Removes what was built; with --all also the cache folder (LibTorch, the disk cache). Never touches job state.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "${1:-}" = --all ] || no_arguments "$@"

command -v bazel >/dev/null && sotto_bazel clean --expunge
rm -rf "${SOTTO_ROOT:?}/bin"
if [ "${1:-}" = --all ]; then
  rm -rf "$SOTTO_DEPS"
  say "removed bin/, Bazel's output and $SOTTO_DEPS"
else
  say "removed bin/ and Bazel's output; $SOTTO_DEPS is kept (./dev clean --all removes it)"
fi
