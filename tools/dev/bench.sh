#!/usr/bin/env bash
# Builds and runs one benchmark program of bench/: ./dev bench NAME [ARGUMENTS]. Alone: lists them.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [ $# -eq 0 ]; then
  say "benchmarks, each run as ./dev bench NAME [ARGUMENTS] (--help for its options):"
  sotto_bazel query --noshow_progress 'kind(cc_binary, //bench/...)' 2>/dev/null | sed 's/.*:/  /'
  exit 0
fi
name=$1
shift
bash "$SOTTO_ROOT/tools/dev/install.sh"
sotto_bazel build --noshow_progress "//bench:$name" >&2 || die "no benchmark $name, or it does not build"
exec "$SOTTO_ROOT/bazel-bin/bench/$name" "$@"
