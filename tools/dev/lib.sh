# Shared by ./dev and its sub-scripts: where things lie, and how they speak. Sourced, never run.
set -euo pipefail

SOTTO_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export SOTTO_DEPS=${SOTTO_DEPS:-$HOME/.cache/sotto}
TORCH_FOLDER=$SOTTO_DEPS/torch-2.11.0
GOOGLEAPIS_FOLDER=$SOTTO_DEPS/googleapis-1.76.0

say() { printf '%s\n' "dev: $*" >&2; }
die() {
  say "error: $*"
  exit 1
}

# Runs Bazel in the checkout with the cache folder's disk cache. $1 is the verb.
sotto_bazel() {
  local verb=$1
  shift
  (cd "$SOTTO_ROOT" && bazel "$verb" --disk_cache="$SOTTO_DEPS/bazel" "$@")
}
