#!/usr/bin/env bash
# Installs what is missing, builds the four programs and copies them to bin/. Copies, not links: a program finds its
# siblings in its own folder.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PROGRAMS=(client/cli/sotto server/sotto-coordinator worker/sotto-worker tools/check/sotto-check)

bash "$SOTTO_ROOT/tools/dev/install.sh"

targets=()
for program in "${PROGRAMS[@]}"; do
  targets+=("//${program%/*}:${program##*/}")
done
[ -d "$SOTTO_DEPS/bazel" ] || say "first build: about 20 minutes on 2 cores, 3 GB of disk; later ones only what changed"
sotto_bazel build "$@" "${targets[@]}"

mkdir -p "$SOTTO_ROOT/bin"
for program in "${PROGRAMS[@]}"; do
  target=$SOTTO_ROOT/bin/${program##*/}
  cmp -s "$SOTTO_ROOT/bazel-bin/$program" "$target" && continue
  # By rename: the old program may be running.
  install -m 0755 "$SOTTO_ROOT/bazel-bin/$program" "$target.new"
  mv "$target.new" "$target"
done
say "bin/ holds sotto, sotto-coordinator, sotto-worker and sotto-check"
